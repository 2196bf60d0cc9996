# SPDX-License-Identifier: Apache-2.0
# frozen_string_literal: true

$LOAD_PATH.unshift(File.expand_path("../lib", __dir__))
require "minitest/autorun"
require "pg"
require "tmpdir"
require "sluice_mode"

# A database of its own on the PostgreSQL that scripts/test-adapters has started, with a fence that goes up and down.
module Database
  NAME = "adapters_ruby"

  module_function

  def run(statement, database = NAME)
    connection = PG.connect(dbname: database)
    connection.set_notice_processor {}
    connection.exec(statement).to_a
  ensure
    connection&.close
  end

  def create
    run("DROP DATABASE IF EXISTS #{NAME} WITH (FORCE)", "postgres")
    run("CREATE DATABASE #{NAME}", "postgres")
    run(<<~SQL)
      SET client_min_messages = warning;
      CREATE TABLE fence (up boolean NOT NULL);
      INSERT INTO fence VALUES (false);
      CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
      BEGIN
          IF (SELECT up FROM fence) THEN
              RAISE EXCEPTION 'this database is read-only while an upgrade runs' USING ERRCODE = '25006';
          END IF;
          RETURN NULL;
      END $$;
      CREATE TABLE notes (id serial PRIMARY KEY, text text NOT NULL);
      CREATE TABLE sessions (id text PRIMARY KEY, data text NOT NULL, saved integer NOT NULL DEFAULT 0);
      CREATE TRIGGER fence BEFORE INSERT OR UPDATE OR DELETE ON notes FOR EACH STATEMENT EXECUTE FUNCTION refuse();
      CREATE TRIGGER fence BEFORE INSERT OR UPDATE OR DELETE ON sessions FOR EACH STATEMENT EXECUTE FUNCTION refuse();
    SQL
  end

  def fenced
    run("UPDATE fence SET up = true")
    yield
  ensure
    run("UPDATE fence SET up = false")
  end
end

# Stands in for the agent: its mode.json.
module Agent
  DIRECTORY = Dir.mktmpdir("sluice-mode.")
  Minitest.after_run { FileUtils.remove_entry(DIRECTORY) }
  ENV["SLUICE_MODE_FILE"] = "#{DIRECTORY}/mode.json"

  module_function

  def write(text)
    File.write("#{DIRECTORY}/.new", text)
    File.rename("#{DIRECTORY}/.new", ENV["SLUICE_MODE_FILE"])
  end

  def close_gate
    write('{"version": 1, "readOnly": true, "retryAfterSeconds": 1, "message": "We are upgrading."}')
  end

  def open_gate
    FileUtils.rm_f(ENV["SLUICE_MODE_FILE"])
  end
end
