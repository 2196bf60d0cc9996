# SPDX-License-Identifier: Apache-2.0
# frozen_string_literal: true

require "rails/railtie"
require "sluice_mode/rack"

module SluiceMode
  # A refusal is no error of the application: it is not logged as one. The middleware has the words. What the application itself rescues,
  # it rescues as ever, also an error that lies behind another.
  module Rescue
    def rescue_with_handler(error)
      super || (SluiceMode.note(error) && head(:service_unavailable) && error)
    end
  end

  # For Rails 6.1 and later: gem "sluice_mode", require: "sluice_mode/rails". Nothing else.
  class Railtie < ::Rails::Railtie
    initializer "sluice_mode.middleware" do |app|
      # Before what makes pages of errors.
      app.config.middleware.insert_before 0, SluiceMode::Rack
    end

    initializer "sluice_mode.active_record" do
      # Sees a refused statement even where the application rescues its error and answers 400.
      ActiveSupport::Notifications.subscribe("sql.active_record") do |*, payload|
        error = payload[:exception_object]
        SluiceMode.note(error) if error
      end
      ActiveSupport.on_load(:active_record) do
        SluiceMode.savepoint = ->(&block) { ActiveRecord::Base.transaction(requires_new: true, &block) }
      end
    end

    initializer "sluice_mode.action_controller" do
      ActiveSupport.on_load(:action_controller) do
        prepend SluiceMode::Rescue
        if respond_to?(:helper_method)
          helper_method :read_only_mode
        end
        define_method(:read_only_mode) { SluiceMode.read_only? }
        private :read_only_mode
      end
    end
  end
end
