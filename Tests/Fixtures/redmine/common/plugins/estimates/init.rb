# SPDX-License-Identifier: Apache-2.0
Redmine::Plugin.register :estimates do
  name "Estimates"
  version "1.0.0"
end
