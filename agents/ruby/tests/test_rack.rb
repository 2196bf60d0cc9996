# SPDX-License-Identifier: Apache-2.0
# frozen_string_literal: true

require_relative "support"
require "rack"
require "rack/mock"
require "sluice_mode/rack"

Database.create

class RackTests < Minitest::Test
  # Plain: writes, or rescues and answers 400, as its path says.
  PLAIN = lambda do |env|
    raise "a fault of the application" if env["PATH_INFO"] == "/wrong"
    begin
      Database.run("INSERT INTO notes (text) VALUES ('x')") if env["PATH_INFO"] =~ /write|caught|own/
    rescue PG::Error => error
      SluiceMode.note(error)
      raise if env["PATH_INFO"] == "/write"
      return [400, { "Content-Type" => "text/plain" }, ["bad"]] if env["PATH_INFO"] == "/caught"
      return [503, { "Content-Type" => "text/plain", "Retry-After" => "99" }, ["own"]]
    end
    [200, { "Content-Type" => "text/plain" }, [SluiceMode.read_only?.to_s]]
  end

  def ask(path, headers = {})
    Rack::MockRequest.new(Rack::Lint.new(SluiceMode::Rack.new(PLAIN))).get(path, headers)
  end

  def teardown
    Agent.open_gate
  end

  def test_code_sees_the_mode_that_the_proxy_says_and_only_in_that_request
    assert_equal "true", ask("/", "HTTP_X_SLUICE_MODE" => "read-only").body
    refute SluiceMode.read_only?
    assert_equal "false", ask("/").body
  end

  def test_outside_of_a_request_the_agents_file_says_the_mode_and_a_damaged_one_is_read_only
    refute SluiceMode.read_only?
    Agent.close_gate
    assert SluiceMode.read_only?
    ["", "{", "[]", "null", '{"version": 1}', "3"].each do |text|
      Agent.write(text)
      assert SluiceMode.read_only?, text
    end
  end

  def test_a_refused_write_is_a_503_that_says_when_to_come_again_in_the_clients_words
    Agent.close_gate
    Database.fenced do
      %w[/write /caught].each do |path|
        answer = ask(path, "HTTP_ACCEPT" => "application/json")
        assert_equal [503, "1", "no-store"], [answer.status, answer["Retry-After"], answer["Cache-Control"]]
        assert_equal({ "error" => "read-only", "message" => "We are upgrading.", "retryAfter" => 1 }, JSON.parse(answer.body))
      end
      page = ask("/write", "HTTP_ACCEPT" => "text/html,*/*")
      assert_includes page.body, "<p>We are upgrading.</p>"
      assert_equal "We are upgrading.\n", ask("/write").body
      assert_equal "99", ask("/own")["Retry-After"]
    end
    assert_equal 200, ask("/write").status
  end

  def test_other_errors_stay_what_they_are
    assert_raises(RuntimeError) { ask("/wrong") }
  end

  def test_a_courtesy_write_is_left_out_while_read_only_and_its_refusal_swallowed
    Database.fenced { assert_nil(SluiceMode.unless_read_only { Database.run("INSERT INTO notes (text) VALUES ('x')") }) }
    assert_raises(PG::UndefinedColumn) { SluiceMode.unless_read_only { Database.run("SELECT nothing") } }
    Agent.close_gate
    assert_nil(SluiceMode.unless_read_only { flunk })
  end
end
