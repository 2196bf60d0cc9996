# SPDX-License-Identifier: Apache-2.0
# frozen_string_literal: true

require_relative "support"
ENV["RAILS_ENV"] = "production"
ENV["DATABASE_URL"] = "postgresql:///#{Database::NAME}"
require "logger"
require "rails"
require "active_record/railtie"
require "action_controller/railtie"
require "rack/test"
require "rack/session/abstract/id"
require "stringio"
require "sluice_mode/rails"

Database.create
LOG = StringIO.new

# Sessions in the database, written with each answer.
class StoredSessions < Rack::Session::Abstract::PersistedSecure
  def find_session(request, id)
    row = id && ActiveRecord::Base.connection.select_value(
      ActiveRecord::Base.sanitize_sql(["SELECT data FROM sessions WHERE id = ?", id.private_id]))
    row ? [id, JSON.parse(row)] : [generate_sid, {}]
  end

  def write_session(request, id, session, options)
    ActiveRecord::Base.connection.execute(ActiveRecord::Base.sanitize_sql([
      "INSERT INTO sessions (id, data) VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET data = excluded.data, saved = sessions.saved + 1",
      id.private_id, session.to_json]))
    id
  end

  def delete_session(request, id, options)
    ActiveRecord::Base.connection.execute(ActiveRecord::Base.sanitize_sql(["DELETE FROM sessions WHERE id = ?", id.private_id]))
    generate_sid unless options[:drop]
  end
end
SluiceMode::Sessions.leave_out(StoredSessions)

class Site < Rails::Application
  config.root = __dir__
  config.eager_load = false
  config.secret_key_base = "for tests" * 8
  config.logger = Logger.new(LOG)
  config.hosts.clear if config.respond_to?(:hosts)
  config.session_store :disabled
  config.middleware.use StoredSessions, key: "session"
  config.action_controller.perform_caching = false
end
Site.initialize!

class Note < ActiveRecord::Base
end

class PagesController < ActionController::Base
  VIEW = '<%= read_only_mode %> <%= session["name"] %>'

  def show
    render inline: VIEW
  end

  def add
    Note.create!(text: "x")
    render plain: "written"
  end

  def caught
    Note.create!(text: "x")
    render plain: "written"
  rescue ActiveRecord::StatementInvalid
    render plain: "cannot save", status: :bad_request
  end

  def enter
    session["name"] = "ada"
    render plain: "welcome"
  end

  def leave
    reset_session
    render plain: "bye"
  end

  def counted
    Note.transaction do
      SluiceMode.unless_read_only { Note.create!(text: "counted") }
      render plain: "#{Note.count} notes"
    end
  end

  def wrong
    raise "a fault of the application"
  end
end

Site.routes.draw do
  root to: "pages#show"
  %w[add caught enter leave counted wrong].each { |name| match name => "pages##{name}", via: :all }
end

class RailsTests < Minitest::Test
  include Rack::Test::Methods

  READ_ONLY = { "HTTP_X_SLUICE_MODE" => "read-only" }.freeze

  def app
    Site
  end

  def setup
    clear_cookies
    Agent.open_gate
  end

  def body_of(path, headers = {})
    get(path, {}, headers)
    assert_equal 200, last_response.status, LOG.string.lines.grep(/Error/).last(3).join
    last_response.body
  end

  def saved
    Database.run("SELECT count(*) AS rows, coalesce(sum(saved), 0) AS times FROM sessions").first
  end

  def test_code_and_templates_see_the_mode
    assert_equal "true ", body_of("/", READ_ONLY)
    assert_equal "false ", body_of("/")
  end

  def test_a_refused_write_is_a_503_that_says_when_to_come_again_and_no_error_of_the_application
    LOG.truncate(0)
    Database.fenced do
      %w[/add /caught].product([{}, READ_ONLY]).each do |path, mode|
        post(path, {}, { "HTTP_ACCEPT" => "application/json" }.merge(mode))
        assert_equal [503, "5"], [last_response.status, last_response["Retry-After"]], path
        assert_equal "read-only", JSON.parse(last_response.body)["error"]
      end
      post("/add", {}, "HTTP_ACCEPT" => "text/html")
      assert_includes last_response.body, "<h1>Read-only for the moment</h1>"
    end
    refute_includes LOG.string, "FATAL"
    assert_equal "written", body_of("/add")
  end

  def test_whoever_is_logged_in_is_served_in_the_window_and_stays_logged_in_after_it
    body_of("/enter")
    before = saved
    Database.fenced do
      assert_equal "true ada", body_of("/", READ_ONLY)
      # A request that came before the window and ends in it.
      assert_equal "false ada", body_of("/")
      assert_equal "welcome", body_of("/enter")
    end
    assert_equal before, saved
    assert_equal "false ada", body_of("/")
    refute_equal before, saved
  end

  def test_a_stranger_and_whoever_leaves_are_served_in_the_window
    body_of("/enter")
    Database.fenced do
      [READ_ONLY, {}].each { |mode| assert_equal "bye", body_of("/leave", mode) }
      assert_match(/ \z/, body_of("/", READ_ONLY))
      clear_cookies
      [READ_ONLY, {}].each { |mode| assert_equal "welcome", body_of("/enter", mode) }
    end
    assert_equal "false ", body_of("/")
  end

  def test_a_counter_is_left_out_and_the_rest_of_the_transaction_goes_on
    count = Note.count
    Database.fenced do
      [READ_ONLY, {}].each { |mode| assert_equal "#{count} notes", body_of("/counted", mode) }
    end
    assert_equal "#{count + 1} notes", body_of("/counted")
  end

  def test_other_errors_stay_what_they_are
    get "/wrong"
    assert_equal 500, last_response.status
    get "/missing"
    assert_equal 404, last_response.status
  end
end
