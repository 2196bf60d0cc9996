# SPDX-License-Identifier: Apache-2.0
Rails.application.configure do
  config.cache_classes = true
  config.eager_load = true
  config.consider_all_requests_local = false
  config.public_file_server.enabled = false
  config.assets.compile = false
  config.assets.precompile += ["print.css"]
  # The release cannot be written to; db:migrate would fail after its last migration.
  config.active_record.dump_schema_after_migration = false
  config.log_level = :info
  config.logger = ActiveSupport::Logger.new(STDOUT) if ENV["RAILS_LOG_TO_STDOUT"].present?
end
