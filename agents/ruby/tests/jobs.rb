# SPDX-License-Identifier: Apache-2.0
# frozen_string_literal: true

# What the Sidekiq of test_sidekiq.rb runs.
$LOAD_PATH.unshift(File.expand_path("../lib", __dir__))
require "sidekiq"
require "pg"
require "sluice_mode/sidekiq"

REDIS = { url: "unix://#{ENV.fetch('JOBS_FOLDER')}/redis.sock" }.freeze
Sidekiq.configure_client { |config| config.redis = REDIS }
Sidekiq.configure_server do |config|
  config.redis = REDIS
  config.average_scheduled_poll_interval = 1
  config.server_middleware { |chain| chain.add SluiceMode::Sidekiq }
end

class AddJob
  include Sidekiq::Worker
  sidekiq_options retry: false

  def perform(text)
    File.write("#{ENV.fetch('JOBS_FOLDER')}/begun", "#{text}\n", mode: "a")
    connection = PG.connect(dbname: "adapters_ruby")
    connection.exec_params("INSERT INTO notes (text) VALUES ($1)", [text])
  ensure
    connection&.close
  end
end
