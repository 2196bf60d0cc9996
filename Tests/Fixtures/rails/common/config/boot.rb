# SPDX-License-Identifier: Apache-2.0
# What differs between machines, and is secret, is in `.env`, which is each node's own.
file = File.expand_path("../.env", __dir__)
File.foreach(file) { |line| ENV[$1] ||= $2 if line =~ /\A(\w+)=(.*)/ } if File.exist?(file)
ENV["BUNDLE_GEMFILE"] ||= File.expand_path("../Gemfile", __dir__)
require "bundler/setup"
