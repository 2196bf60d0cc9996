# SPDX-License-Identifier: Apache-2.0
# frozen_string_literal: true

require "json"

# The mode that Sluice has put this application into, for code: SluiceMode.read_only?
#
# In a request the mode is what the proxy said with it (X-Sluice-Mode); elsewhere, in workers and scripts, what the agent's
# mode.json says. Without either an application is in its normal mode. See docs/adapters.md.
module SluiceMode
  USUAL_MESSAGE = "Read-only for the moment. Please try again shortly."
  # Seconds.
  USUAL_RETRY_AFTER = 5
  # A day: what is longer is no time to come again.
  LONGEST_RETRY_AFTER = 86_400

  # What one request or one look at the file is to know. refused: whether the database has refused a write of this request.
  State = Struct.new(:read_only, :retry_after, :message, :refused)

  class << self
    # Runs a block in a savepoint; Rails sets it, so that a transaction can go on after a refusal.
    attr_accessor :savepoint

    def read_only?
      state.read_only
    end

    def state
      current || of_file
    end

    def current
      Thread.current[:sluice_mode]
    end

    def current=(state)
      Thread.current[:sluice_mode] = state
    end

    def path
      ENV["SLUICE_MODE_FILE"] || "/run/sluice/mode.json"
    end

    # The agent's mode.json. No file: normal. One that cannot be understood: read-only, as the agent takes it.
    def of_file
      text = text_of_file or return State.new(false, USUAL_RETRY_AFTER, USUAL_MESSAGE, false)
      mode = JSON.parse(text)
      after = mode["retryAfterSeconds"].to_i
      message = mode["message"].to_s.scrub
      State.new(
        mode.fetch("readOnly") ? true : false, after.positive? ? [after, LONGEST_RETRY_AFTER].min : USUAL_RETRY_AFTER,
        message.empty? ? USUAL_MESSAGE : message, false)
    rescue JSON::JSONError, KeyError, TypeError, NoMethodError, RangeError, EncodingError
      State.new(true, USUAL_RETRY_AFTER, USUAL_MESSAGE, false)
    end

    # The header decides where the proxy sends it; the words are the file's where there is one.
    def of_request(header)
      state = of_file
      state.read_only = header == "read-only" if %w[read-only normal].include?(header)
      state
    end

    # Whether an error, or one that it came from, is a write that the database refused because it is read-only.
    def refused?(error)
      # read_only_sql_transaction; insufficient_privilege is what a sequence says behind the fence.
      codes = read_only? ? %w[25006 42501] : %w[25006]
      seen = []
      while error && !seen.include?(error)
        seen << error
        return true if codes.include?(code(error))
        error = error.cause
      end
      false
    end

    # Remembers for the request under way that the database refused a write. Returns whether it did.
    def note(error)
      refused?(error).tap { |is| current.refused = true if is && current }
    end

    # Around a write that nobody would miss: that it was refused is forgotten, and no business of the answer.
    def courtesy
      was = current&.refused
      yield
    rescue StandardError => error
      raise unless refused?(error)
      current.refused = was if current
      nil
    end

    # For a write that a reader would not miss (a counter, "last seen"): left out while read-only, and nil then.
    def unless_read_only(&block)
      return if read_only?
      courtesy { savepoint ? savepoint.call(&block) : block.call }
    end

    private

    # Nothing where none can be read. Waits for nobody: a pipe or a directory in its place is no file of the agent's. It is UTF-8, whatever
    # the locale of this process.
    def text_of_file
      File.open(path, File::RDONLY | File::NONBLOCK | File::BINARY) do |file|
        file.read(65_536).to_s.dup.force_encoding(Encoding::UTF_8) if file.stat.file?
      end
    rescue SystemCallError, IOError, ArgumentError
      nil
    end

    # The SQLSTATE of an error of the pg gem.
    def code(error)
      error.result.error_field(67) if error.respond_to?(:result) && error.result.respond_to?(:error_field)
    end
  end
end
