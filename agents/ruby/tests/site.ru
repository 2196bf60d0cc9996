# SPDX-License-Identifier: Apache-2.0
# frozen_string_literal: true

# What test_without_mode.rb has puma serve: a Rack application, or one of Rails, with the adapter (ADAPTED) or without it.
$LOAD_PATH.unshift(File.expand_path("../lib", __dir__))
require "json"
require "pg"
require "rack/session/abstract/id"

# In a file of its own form: puma hands it on by its path.
class OwnFile
  def to_path
    __FILE__
  end

  def each
    yield File.binread(__FILE__)
  end
end

# Sessions in the database, written with each answer.
class StoredSessions < Rack::Session::Abstract::PersistedSecure
  def run(statement, *values)
    connection = PG.connect(dbname: "adapters_ruby")
    connection.exec_params(statement, values).to_a
  ensure
    connection&.close
  end

  def find_session(_request, id)
    row = id && run("SELECT data FROM sessions WHERE id = $1", id.private_id).first
    row ? [id, JSON.parse(row["data"])] : [generate_sid, {}]
  end

  def write_session(_request, id, session, _options)
    run("INSERT INTO sessions (id, data) VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET saved = sessions.saved + 1", id.private_id, session.to_json)
    id
  end

  def delete_session(_request, id, options)
    run("DELETE FROM sessions WHERE id = $1", id.private_id)
    generate_sid unless options[:drop]
  end
end

PLAIN = lambda do |env|
  text = { "Content-Type" => "text/plain" }
  case env["PATH_INFO"]
  when "/" then [200, text, ["shown"]]
  when "/pieces" then [200, text, %w[one two]]
  when "/bad" then [400, text.merge("Retry-After" => "9"), ["cannot save"]]
  when "/stream" then [200, text, Enumerator.new { |body| 3.times { |line| body << "line #{line}\n" } }]
  when "/file" then [200, text.merge("Content-Length" => File.size(__FILE__).to_s), OwnFile.new]
  when "/nothing" then [204, {}, []]
  when "/wrong" then raise "a fault of the application"
  else [404, text, ["missing"]]
  end
end

def rails_site
  require "rails"
  require "action_controller/railtie"
  require "sluice_mode/rails" if ENV["ADAPTED"]
  site = Class.new(Rails::Application) do
    config.root = __dir__
    config.eager_load = false
    config.secret_key_base = "for tests" * 8
    config.logger = Logger.new(File::NULL)
    config.session_store :disabled
    config.middleware.use StoredSessions, key: "session"
  end
  Object.const_set(:Site, site)
  site.initialize!
  Object.const_set(:PagesController, pages)
  site.routes.draw do
    root to: "pages#show"
    %w[bad enter moved wrapped wrong].each { |name| match name => "pages##{name}", via: :all }
  end
  site
end

class Missing < StandardError
end

def pages
  Class.new(ActionController::Base) do
    rescue_from("Missing") { render plain: "no such book", status: :not_found }
    # An error of a template is one of the view, with what the application rescues behind it.
    define_method(:wrapped) { render inline: "<% raise Missing %>" }
    define_method(:show) { render plain: "shown #{session['name']}" }
    define_method(:bad) { render plain: "cannot save", status: :bad_request }
    define_method(:moved) { redirect_to "/" }
    define_method(:wrong) { raise "a fault of the application" }
    define_method(:enter) do
      session["name"] = "ada"
      render plain: "welcome"
    end
  end
end

if ENV["SITE"] == "rails"
  # As an initializer would.
  if ENV["ADAPTED"]
    require "sluice_mode/rack"
    SluiceMode::Sessions.leave_out(StoredSessions)
  end
  run rails_site
else
  if ENV["ADAPTED"]
    require "sluice_mode/rack"
    use SluiceMode::Rack
  end
  run PLAIN
end
