# SPDX-License-Identifier: Apache-2.0
"""Debian's pgbouncer between the application and PostgreSQL: transaction pooling, and logins by its documented `auth_query`."""

import os
import pathlib
import secrets
import shutil
import subprocess

from checker import Claim
from faults import REFUSED, Fault
from node import REPOSITORY
from postgres import ACCOUNT
from processes import wait_until

PROGRAM = "/usr/sbin/pgbouncer"
HOST = "127.0.0.1"

# What pgbouncer's own manual says of `auth_query`, in the database of the application.
LOOKUP = """
CREATE SCHEMA pgbouncer;
CREATE FUNCTION pgbouncer.user_lookup(in i_username text, out uname text, out phash text) RETURNS record AS $$
BEGIN
    SELECT usename, passwd FROM pg_catalog.pg_shadow WHERE usename = i_username INTO uname, phash;
    RETURN;
END;
$$ LANGUAGE plpgsql SECURITY DEFINER;
REVOKE ALL ON FUNCTION pgbouncer.user_lookup(text) FROM public, pgbouncer;
GRANT USAGE ON SCHEMA pgbouncer TO pgbouncer;
GRANT EXECUTE ON FUNCTION pgbouncer.user_lookup(text) TO pgbouncer;
"""

# In a plan.
RENEWED = "\nhooks:\n  - {after: preflight, run: pool-room, where: one-node}\n  - {after: migrate, run: renew-pool, undo: renew-pool, until: verify, where: one-node}\n"


class Pooler:
    def __init__(self, directory, port, postgres, processes):
        self.directory, self.port = pathlib.Path(directory), port
        self.postgres, self.processes = postgres, processes
        self.log = self.directory / "pgbouncer.log"
        self.password = secrets.token_hex(12)

    def start(self):
        self.directory.mkdir()
        database, password = self.postgres.database, secrets.token_hex(12)
        self.postgres.query("CREATE ROLE pgbouncer LOGIN PASSWORD %s", (password,))
        self.postgres.query(LOOKUP)
        (self.directory / "users").write_text('"pgbouncer" "%s"\n"console" "%s"\n' % (password, self.password))
        (self.directory / "pgbouncer.ini").write_text(f"""[databases]
{database} = host={HOST} port={self.postgres.port} dbname={database} auth_user=pgbouncer

[pgbouncer]
listen_addr = {HOST}
listen_port = {self.port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {self.directory}/users
auth_query = SELECT * FROM pgbouncer.user_lookup($1)
admin_users = console
pool_mode = transaction
default_pool_size = 8
max_client_conn = 500
""")
        for path in [self.directory, *self.directory.iterdir()]:
            path.chmod(0o700 if path.is_dir() else 0o600)
            if os.geteuid() == 0:
                shutil.chown(path, ACCOUNT, ACCOUNT)
        self.log.touch()
        process = self.processes.start(
            "pgbouncer", [PROGRAM, self.directory / "pgbouncer.ini"], self.log, user=ACCOUNT, directory="/")
        wait_until("pgbouncer answers (log: %s)" % self.log, self.answers, alive=process)

    def url(self, direct):
        """The address of the application, of which only the port is another."""
        return direct.replace("%s:%d/" % (HOST, self.postgres.port), "%s:%d/" % (HOST, self.port))

    def console(self):
        """How its console is reached, for libpq."""
        return "host=%s port=%d dbname=pgbouncer user=console password=%s" % (HOST, self.port, self.password)

    def ask(self, statement):
        """The rows of a statement of the console's, each by its columns."""
        result = subprocess.run(
            ["psql", "--no-psqlrc", "--quiet", "--no-align", "--pset=footer=off", "--dbname", self.console(), "--command", statement],
            check=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        names, *rows = [line.split("|") for line in result.stdout.splitlines()]
        return [dict(zip(names, row)) for row in rows]

    def answers(self):
        try:
            return bool(self.ask("SHOW VERSION"))
        except subprocess.CalledProcessError:
            return False

    def action(self):
        """Of a node's agent: what a plan's hook runs."""
        return "".join("""  %s:
    command: ["/usr/bin/env", "PGBOUNCER=%s", "%s", %s]
    timeout: 30s
    repeatable: true
""" % (name, self.console(), REPOSITORY / "agents" / "pgbouncer" / "pgbouncer", arguments) for name, arguments in [
            ("renew-pool", 'renew, "%s"' % self.postgres.database), ("pool-room", 'room, "%s", "192"' % self.postgres.database)])

    def claims(self, journal):
        """Of a run that is done."""
        preflight, migrated = journal.task("preflight"), journal.task("closePass") or journal.task("migrate")
        warnings = [warning["message"] for warning in (preflight[2].get("warnings", []) if preflight else [])
                    if warning["code"] == "pooler-behind"]
        servers = [row for row in self.ask("SHOW SERVERS") if row["database"] == self.postgres.database]
        old = self.postgres.query(
            "SELECT pid, usename, backend_start::text FROM pg_stat_activity WHERE pid = ANY (%s) AND backend_start < to_timestamp(%s)",
            ([int(row["remote_pid"]) for row in servers], migrated[1] if migrated else 0))
        return [
            Claim("what preflight knows the pooler by", "; ".join(warnings) or "nothing", "its role, schema and function",
                  all(sign in "".join(warnings) for sign in ["role pgbouncer", "schema pgbouncer", "user_lookup"])),
            Claim("the pooler's connections that are older than the migration", "%d of %d" % (len(old), len(servers)), "0",
                  migrated is not None and not old and bool(servers), [str(row) for row in old])]


class AddressOfThePooler(Fault):
    text = "the coordinator is given the pooler's address"
    codes = (REFUSED,)

    def prepare(self, fleet):
        return fleet.variant("pooler", replace=[("url: env:SLUICE_DATABASE_URL", "url: env:SLUICE_POOLER_URL")])

    def claims(self, fleet, journal):
        failures = [fact.body["failure"] for fact in journal.facts
                    if fact.type == "database-task-ended" and fact.body["result"] == "failed"]
        found = sorted({code for failure in failures
                        for code in [failure["code"], *(finding["code"] for finding in failure["findings"])]})
        return [Claim("  what it is refused for", ", ".join(found), "pooler among it", "pooler" in found,
                      [str(failure) for failure in failures])]
