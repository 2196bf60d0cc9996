# SPDX-License-Identifier: Apache-2.0
require_relative "config/environment"
run Rails.application
Rails.application.load_server
