# SPDX-License-Identifier: Apache-2.0
"""The fleet whose primary has a streaming standby, from which the old release reads while the primary is migrated."""

import os
import secrets
import shutil
import threading
import time
import uuid

import psycopg2

from node import Node
from postgres import MIGRATOR, Postgres, binaries
from processes import wait_until
from sluice import SluiceFleet

SLOT = "guestbook_standby"
REPLICATOR = "replicator"

# In the place of the plan's own way with reads.
READS = "reads:\n  while_migrating: hold\n  hold_for: 10s\n  hold_at_most: 1000\n"
FROM_STANDBY = "reads:\n  from: standby\n"
STANDBY = "  standby:\n    url: env:SLUICE_STANDBY_URL\n    lag: 5s\n    wal: 4GB\n"


class Standby(Postgres):
    """A physical standby by plain streaming replication over a slot, as `pg_basebackup -R -C -S` leaves it."""

    name = "standby"
    def __init__(self, directory, port, processes, primary):
        super().__init__(directory, port, processes, primary.fence)
        self.primary = primary
        self.passwords = primary.passwords

    def create(self):
        self.directory.mkdir(parents=True)
        if os.geteuid() == 0:
            shutil.chown(self.directory, "postgres", "postgres")
        self.passwords[REPLICATOR] = secrets.token_hex(12)
        self.primary.query('CREATE ROLE "%s" REPLICATION LOGIN PASSWORD %%s' % REPLICATOR, (self.passwords[REPLICATOR],),
                           database="postgres")
        self._as_account([
            binaries() / "pg_basebackup", "--pgdata", self.data, "--checkpoint", "fast", "--write-recovery-conf",
            "--create-slot", "--slot", SLOT, "--no-sync", "--dbname",
            "%s?application_name=%s" % (self.primary.url(REPLICATOR, "postgres"), self.name)])
        self.start()
        wait_until("the standby streams (log: %s)" % self.log, self.streams)
        # What the files have beside the command line is pending from the first reload on.
        self.query("SELECT pg_reload_conf()")

    def streams(self):
        rows = self.primary.query("SELECT state FROM pg_stat_replication WHERE application_name = %s", (self.name,))
        return rows == [("streaming",)]

    def is_primary(self):
        return not self.query("SELECT pg_is_in_recovery()")[0][0]

    def has_caught_up(self):
        lsn = self.primary.query("SELECT pg_current_wal_lsn()::text")[0][0]
        return self.query("SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", (lsn,))[0][0]


class FrozenNode(Node):
    """The address of the standby is in the application's environment beside that of the primary."""

    standby_url = None

    def write_environment(self, database_url):
        super().write_environment(database_url)
        text = self.environment_file.read_text()
        self.environment_file.write_text(
            text + "case ${SLUICE_DATABASE:-} in standby) GUESTBOOK_DSN='%s' ;; esac\nGUESTBOOK_STAMPED=1\n" % self.standby_url)

    def served(self):
        """The identifier of what is current: `v1.3f786850e387.standby` for one that works on the standby."""
        return (self.app / "current").readlink().name.split("-", 1)[1]


class FrozenFleet(SluiceFleet):
    """`is_frozen`: whether the plans say so; without, the same fleet is upgraded with reads held."""

    node_type = FrozenNode
    is_frozen = True

    def __init__(self, binaries, **options):
        super().__init__(binaries, **options)
        # For pg_rewind.
        self.postgres.initdb_options = ["--data-checksums"]
        self.standby = Standby(self.directory / "standby", self._ports.take(), self.processes, self.postgres)

    def prepare_database(self):
        url = super().prepare_database()
        self.standby.create()
        for node in self.nodes:
            node.standby_url = self.standby.url("guestbook_app")
        return url

    def coordinator_environment(self):
        return {**super().coordinator_environment(), "SLUICE_STANDBY_URL": self.standby.url(MIGRATOR)}

    def example(self):
        # The migration takes its time, and a busy machine its own.
        text = super().example().replace("  hold_for: 15s\n", "  hold_for: 60s\n")
        if not self.is_frozen:
            return text
        if READS not in text:
            raise ValueError("the example plan reads otherwise")
        return text.replace(READS, FROM_STANDBY).replace("\nwrites:\n", STANDBY + "\nwrites:\n")

    def plan(self):
        return self.variant("frozen" if self.is_frozen else "held")

    def start_readers(self, rate=60.0):
        """More of them than a demo without a standby has: the longest gap is theirs to see. `rate`: pages a second."""
        threads = max(4, round(rate / 15))
        self.start_client("reader", rate=rate / threads, threads=threads, seconds=3600)
        self.start_client("writer", rate=8, seconds=3600)
        self.start_client("tabs", rate=4, threads=1)
        self.start_client("sneaky", rate=8, threads=9, without=["open_transaction", "late_writer"])

    def try_again(self, run, say, patience=90.0):
        """What a person does about a run that waits: `sluice retry`, and again as long as it waits. Returns an exit code."""
        end = time.monotonic() + patience
        ended = {"done": 0, "rolled-back": 4, "refused": 3}
        while True:
            _, lines = self.operator("retry", run)
            say("  " + " ".join(lines))
            wait_until("run %s ends or waits again" % run, lambda: self.journal(run).outcome() != "open", patience)
            outcome = self.journal(run).outcome()
            if outcome in ended or time.monotonic() > end:
                return ended.get(outcome, 5)
            time.sleep(1)

    def kill_server(self, server):
        """kill -9 of the postmaster: its children see that, and end."""
        self.processes.kill(server.name)

    def start_server(self, server, patience=20.0):
        """A server that was killed may find its shared memory in use for a moment."""
        end = time.monotonic() + patience
        while True:
            try:
                return server.start()
            except RuntimeError:
                self.processes.stop(server.name)
                if time.monotonic() > end:
                    raise
                time.sleep(0.2)


class Asking(threading.Thread):
    """Asks both servers all the time whether they take a write, and notes when one did: never both."""

    def __init__(self, fleet):
        super().__init__(daemon=True)
        self.fleet = fleet
        self.ended = threading.Event()
        # Each write that was taken: the server's name, its key, when it began and ended. And how often each was asked.
        self.taken = []
        self.asked = {fleet.postgres.name: 0, fleet.standby.name: 0}

    def run(self):
        connections = {}
        while not self.ended.wait(0.01):
            for server in (self.fleet.postgres, self.fleet.standby):
                self.ask(server, connections)
        for connection in connections.values():
            connection.close()

    def ask(self, server, connections):
        began, key = time.time(), str(uuid.uuid4())
        self.asked[server.name] += 1
        try:
            connection = connections.get(server.name)
            if connection is None or connection.closed:
                connection = connections[server.name] = psycopg2.connect(
                    host="127.0.0.1", port=server.port, dbname="guestbook", user="guestbook_app",
                    password=server.passwords["guestbook_app"], connect_timeout=2,
                    options="-c default_transaction_read_only=off -c lock_timeout=1s -c statement_timeout=2s")
                connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute("INSERT INTO visit (request_id, how) VALUES (%s, 'asked')", (key,))
            self.taken.append((server.name, key, began, time.time()))
        except psycopg2.Error:
            connection = connections.get(server.name)
            if connection is not None and connection.closed:
                connections.pop(server.name)

    def stop(self):
        self.ended.set()
        self.join(30.0)
