# SPDX-License-Identifier: Apache-2.0
Gem::Specification.new do |spec|
  spec.name = "sluice_mode"
  spec.version = "0.1.0"
  spec.summary = "Tells a Ruby web application that it is read-only while Sluice upgrades it"
  spec.authors = ["The authors of Sluice"]
  spec.license = "Apache-2.0"
  spec.required_ruby_version = ">= 2.7"
  spec.files = Dir["lib/**/*.rb"]
end
