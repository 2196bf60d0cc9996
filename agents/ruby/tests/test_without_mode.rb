# SPDX-License-Identifier: Apache-2.0
# frozen_string_literal: true

require_relative "support"
require "socket"
require "timeout"

Database.create

# Killed, or never told a mode, the adapter leaves an application as it is without it: the same requests to both, by puma.
class WithoutModeTests < Minitest::Test
  # What is in the place of mode.json, each with what makes it.
  NO_FILE = {
    "no file" => ->(_) {},
    "a directory, as a container engine makes one for a file that it misses" => ->(path) { Dir.mkdir(path) },
    "a link to itself" => ->(path) { File.symlink(path, path) },
    "a pipe into which nobody writes" => ->(path) { File.mkfifo(path) },
    "a device" => ->(path) { File.symlink("/dev/zero", path) }
  }.freeze
  # What is there and cannot be understood: read-only, and whoever only reads is served as ever.
  GARBAGE = [
    "", "{", "null", "3", "[" * 60_000, "\0" * 100_000, "\xff\xfe", '{"readOnly": true, "retryAfterSeconds": 1e999}',
    '{"readOnly": true, "retryAfterSeconds": [1], "message": ["x"]}', '{"readOnly": true, "message": "\ud800"}'
  ].freeze
  # What comes with a request of a proxy that is not, or not rightly, configured.
  NO_HEADER = [nil, "", "garbage", "normal, read-only", "READ-ONLY", "\xff" * 2000].freeze

  def setup
    @folder = Dir.mktmpdir("sluice-puma.")
    @servers = []
  end

  def teardown
    @servers.each do |process|
      Process.kill(:KILL, process)
      Process.wait(process)
    end
    FileUtils.rm_rf(ENV["SLUICE_MODE_FILE"])
    FileUtils.remove_entry(@folder)
  end

  def serve(site, adapted)
    socket = "#{@folder}/#{site}-#{adapted}"
    environment = { "SITE" => site, "ADAPTED" => adapted ? "yes" : nil, "RAILS_ENV" => "production", "RACK_ENV" => "production" }
    @servers << spawn(environment, "puma", "--quiet", "--bind", "unix://#{socket}", "#{__dir__}/site.ru",
                      out: "#{socket}.log", err: %i[child out], chdir: @folder)
    deadline = Process.clock_gettime(Process::CLOCK_MONOTONIC) + 60
    until File.socket?(socket)
      is_late = Process.clock_gettime(Process::CLOCK_MONOTONIC) > deadline
      flunk(File.read("#{socket}.log")) if is_late || File.read("#{socket}.log").include?("Unable to load")
      sleep 0.05
    end
    socket
  end

  # Status, headers and body as they came, without what differs from one request to the next.
  def ask(socket, path, mode = nil, method = "GET")
    Timeout.timeout(60, Minitest::Assertion, "#{method} #{path} is not answered") do
      UNIXSocket.open(socket) do |connection|
        header = mode ? "X-Sluice-Mode: #{mode}\r\n" : ""
        connection.write("#{method} #{path} HTTP/1.1\r\nHost: localhost\r\n#{header}Connection: close\r\n\r\n".b)
        connection.read.lines.grep_v(/\A(Date|X-Request-Id|X-Runtime):/i).join.gsub(/session=[0-9a-f]+/, "session=…")
      end
    end
  end

  def saved
    Database.run("SELECT count(*) AS rows, coalesce(sum(saved), 0) AS times FROM sessions").first.values.map(&:to_i)
  end

  def compare(site, paths)
    requests = paths.product(%w[GET HEAD POST]).map { |path, method| [path, method] }
    bare, adapted = serve(site, false), serve(site, true)
    answers = ->(socket, mode) { requests.map { |path, method| ask(socket, path, mode, method) } }
    before = saved
    wanted = answers.(bare, nil)
    each_time = saved.zip(before).map { |after, was| after - was }
    assert_operator wanted.map { |answer| answer[/\AHTTP\S+ \d+/] }.uniq.size, :>, 2
    NO_FILE.each do |kind, make|
      FileUtils.rm_rf(ENV["SLUICE_MODE_FILE"])
      make.(ENV["SLUICE_MODE_FILE"])
      NO_HEADER.each do |mode|
        before = saved
        requests.zip(wanted, answers.(adapted, mode)) { |request, without, with| assert_equal without, with, [kind, mode, request].inspect }
        assert_equal each_time, saved.zip(before).map { |after, was| after - was }, kind
      end
    end
    compare_garbage(adapted, paths - ["/enter"], bare)
  end

  def compare_garbage(adapted, paths, bare)
    FileUtils.rm_rf(ENV["SLUICE_MODE_FILE"])
    # Nothing is saved, so no cookie comes either.
    reads = ->(socket) { paths.map { |path| ask(socket, path).gsub(/^Set-Cookie:.*\r\n/i, "") } }
    wanted = reads.(bare)
    GARBAGE.each do |text|
      Agent.write(text)
      paths.zip(wanted, reads.(adapted)) { |path, without, with| assert_equal without, with, [text[0, 20], path].inspect }
    end
  end

  def test_a_rack_application_is_as_without_the_adapter
    compare("rack", %w[/ /pieces /bad /stream /file /nothing /wrong /missing])
  end

  def test_a_rails_site_is_as_without_the_adapter
    compare("rails", %w[/ /bad /enter /moved /wrapped /wrong /missing])
  end
end
