# SPDX-License-Identifier: Apache-2.0
# frozen_string_literal: true

require "cgi"
require "rack/body_proxy"
require "sluice_mode"

module SluiceMode
  # For any Rack application, the first: use SluiceMode::Rack. Sets the mode for the request (also env["sluice.read_only"]), and
  # answers a write that the database refused.
  class Rack
    def initialize(app)
      @app = app
    end

    def call(env)
      state = SluiceMode.current = SluiceMode.of_request(env["HTTP_X_SLUICE_MODE"])
      env["sluice.read_only"] = state.read_only
      begin
        status, headers, body = @app.call(env)
      rescue StandardError => error
        is_refused = SluiceMode.note(error)
        SluiceMode.current = nil
        raise unless is_refused
        return answer(state, env)
      end
      if state.refused && status.to_i >= 400 && !(status.to_i == 503 && after?(headers))
        body.close if body.respond_to?(:close)
        SluiceMode.current = nil
        return answer(state, env)
      end
      if body.is_a?(Array)
        # It is there already, and servers give it a length.
        SluiceMode.current = nil
        return [status, headers, body]
      end
      # A body that is made bit by bit sees the mode too.
      [status, headers, ::Rack::BodyProxy.new(body) { SluiceMode.current = nil }]
    end

    private

    def after?(headers)
      headers.any? { |name, _| name.casecmp?("Retry-After") }
    end

    def answer(state, env)
      accept = env["HTTP_ACCEPT"].to_s.downcase
      if accept.include?("text/html")
        type, body = "text/html; charset=utf-8", format(PAGE, CGI.escapeHTML(state.message))
      elsif accept.include?("json")
        body = JSON.generate("error" => "read-only", "message" => state.message, "retryAfter" => state.retry_after)
        type, body = "application/json", "#{body}\n"
      else
        type, body = "text/plain; charset=utf-8", "#{state.message}\n"
      end
      headers = {
        "Content-Type" => type, "Content-Length" => body.bytesize.to_s, "Retry-After" => state.retry_after.to_s,
        "Cache-Control" => "no-store", "Vary" => "Accept", "X-Sluice-Refused" => "database"
      }
      # Rack 3 wants them so; every server takes them.
      headers = headers.transform_keys(&:downcase)
      [503, headers, env["REQUEST_METHOD"] == "HEAD" ? [] : [body]]
    end

    PAGE = <<~HTML
      <!doctype html>
      <html lang="en">
      <head>
      <meta charset="utf-8">
      <meta name="viewport" content="width=device-width, initial-scale=1">
      <meta name="color-scheme" content="light dark">
      <title>Read-only for the moment</title>
      </head>
      <body>
      <main>
      <h1>Read-only for the moment</h1>
      <p>%s</p>
      <p>What you sent has not been saved. Go back, and send it again in a moment.</p>
      </main>
      </body>
      </html>
    HTML
  end

  # For a store of sessions that writes to the database: SluiceMode::Sessions.leave_out(ActionDispatch::Session::ActiveRecordStore).
  # Nothing is saved while read-only, and whoever has a session keeps it.
  module Sessions
    def self.leave_out(store)
      store.prepend(self)
    end

    def write_session(request, id, session, options)
      return id if SluiceMode.read_only?
      SluiceMode.courtesy { super } || id
    end

    def delete_session(request, id, options)
      following = SluiceMode.courtesy { super } unless SluiceMode.read_only?
      following || (generate_sid unless options[:drop])
    end
  end
end
