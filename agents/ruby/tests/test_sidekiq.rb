# SPDX-License-Identifier: Apache-2.0
# frozen_string_literal: true

require_relative "support"

# A real Sidekiq with a Redis of its own.
class SidekiqTests < Minitest::Test
  def setup
    Database.create
    @folder = Dir.mktmpdir("sluice-jobs.")
    ENV["JOBS_FOLDER"] = @folder
    quiet = { out: "#{@folder}/log", err: %i[child out] }
    @redis = spawn("redis-server", "--port", "0", "--unixsocket", "#{@folder}/redis.sock", "--save", "", "--dir", @folder, **quiet)
    wait_until { File.socket?("#{@folder}/redis.sock") }
    @sidekiq = spawn("sidekiq", "-r", File.expand_path("jobs.rb", __dir__), "-c", "1", out: "#{@folder}/worker", err: %i[child out])
    require_relative "jobs"
  end

  def teardown
    Agent.open_gate
    [@sidekiq, @redis].compact.each do |process|
      Process.kill(:KILL, process)
      Process.wait(process)
    end
    FileUtils.remove_entry(@folder)
  end

  def wait_until
    deadline = Process.clock_gettime(Process::CLOCK_MONOTONIC) + 60
    until yield
      flunk("not so after 60 s: #{File.read("#{@folder}/worker").lines.last(30).join if File.exist?("#{@folder}/worker")}") if Process.clock_gettime(Process::CLOCK_MONOTONIC) > deadline
      sleep 0.1
    end
  end

  def stored
    Database.run("SELECT text FROM notes ORDER BY id").map { |row| row["text"] }
  end

  def begun
    File.exist?("#{@folder}/begun") ? File.readlines("#{@folder}/begun", chomp: true) : []
  end

  def put_off
    Sidekiq::ScheduledSet.new.size
  end

  def test_a_job_is_put_off_while_read_only_and_a_refused_one_too_until_it_is_stored_once
    require "sidekiq/api"
    AddJob.perform_async("first")
    wait_until { stored == ["first"] }
    Agent.close_gate
    AddJob.perform_async("second")
    wait_until { put_off == 1 }
    assert_equal ["first"], begun
    Agent.open_gate
    wait_until { stored == %w[first second] }
    Database.fenced do
      AddJob.perform_async("third")
      wait_until { begun.count("third") >= 2 }
      assert_equal %w[first second], stored
    end
    wait_until { stored == %w[first second third] }
    assert_equal 0, Sidekiq::RetrySet.new.size + Sidekiq::DeadSet.new.size
  end
end
