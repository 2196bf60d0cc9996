# SPDX-License-Identifier: Apache-2.0
require_relative "boot"
require "rails"
require "active_record/railtie"
require "action_controller/railtie"
require "action_view/railtie"
Bundler.require(*Rails.groups)
require_relative "../lib/stored_sessions"

module Bookshelf
  RELEASE = File.read(File.expand_path("../RELEASE", __dir__)).strip

  class Application < Rails::Application
    config.load_defaults 6.1
    config.session_store StoredSessions, key: "sessionid"
    # Says on each response which release made it.
    config.action_dispatch.default_headers["X-Release"] = RELEASE
  end
end
