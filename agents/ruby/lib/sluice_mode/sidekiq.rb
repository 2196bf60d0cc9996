# SPDX-License-Identifier: Apache-2.0
# frozen_string_literal: true

require "sidekiq"
require "sluice_mode"

module SluiceMode
  # For Sidekiq:
  #
  #   Sidekiq.configure_server { |config| config.server_middleware { |chain| chain.add SluiceMode::Sidekiq } }
  #
  # A job that comes while read-only is put off, and so is one whose write was refused all the same; neither counts as a retry. What a
  # job had committed before is there twice unless it can be repeated, as with any retry.
  class Sidekiq
    def call(_worker, job, _queue)
      state = SluiceMode.of_file
      return put_off(job, state) if state.read_only
      begin
        yield
      rescue StandardError => error
        raise unless SluiceMode.refused?(error)
        put_off(job, SluiceMode.of_file)
      end
    end

    private

    def put_off(job, state)
      ::Sidekiq::Client.push(job.merge("at" => Time.now.to_f + state.retry_after))
    end
  end
end
