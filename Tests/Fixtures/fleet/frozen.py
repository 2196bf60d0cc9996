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
        """And commits wait for it where its name is among those that they wait for."""
        rows = self.primary.query(
            "SELECT r.state, r.sync_state = 'sync' OR current_setting('synchronous_standby_names') = '' FROM pg_stat_replication AS r"
            " JOIN pg_replication_slots AS s ON s.active_pid = r.pid WHERE s.slot_name = %s", (SLOT,))
        return rows == [("streaming", True)]

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
    """`is_frozen`: whether the plans say so; without, the same fleet is upgraded with reads held. `synchronous`: commits wait for the
    standby."""

    node_type = FrozenNode
    is_frozen = True
    # What looks after both servers, if anything.
    patroni = None

    def __init__(self, binaries, synchronous=False, **options):
        super().__init__(binaries, **options)
        self.is_synchronous = synchronous
        # For pg_rewind.
        self.postgres.initdb_options = ["--data-checksums"]
        self.standby = Standby(self.directory / "standby", self._ports.take(), self.processes, self.postgres)

    def prepare_database(self):
        url = super().prepare_database()
        self.standby.create()
        if self.is_synchronous:
            self.postgres.query("ALTER SYSTEM SET synchronous_standby_names = 'FIRST 1 (%s)'" % self.standby.name)
            self.postgres.query("SELECT pg_reload_conf()")
            wait_until("commits wait for the standby", self.standby.streams)
        for node in self.nodes:
            node.standby_url = self.standby.url("guestbook_app")
        return url

    def coordinator_environment(self):
        return {**super().coordinator_environment(), "SLUICE_STANDBY_URL": self.standby.url(MIGRATOR)}

    def example(self):
        # The migration takes its time, and a busy machine its own: nearly as long as a gate holds (gate.longest_hold).
        text = super().example().replace("  hold_for: 15s\n", "  hold_for: 105s\n")
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
        # Whoever has written misses nothing of it on the standby.
        self.start_client("writer", rate=8, seconds=3600, more=["--follow", "--timeout", 115])
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


class Asking:
    """Asks both servers all the time, each by itself, whether they take a write, and notes when one did: never both."""

    def __init__(self, fleet):
        self.fleet = fleet
        self.ended = threading.Event()
        servers = (fleet.postgres, fleet.standby)
        # Each write that was taken: the server's name, its key, when it began and ended.
        self.taken = []
        # How often each was asked, and for how long it was not, at most: it kept a question waiting, or this machine was busy.
        self.asked = {server.name: 0 for server in servers}
        self.longest = {server.name: 0.0 for server in servers}
        self._threads = [threading.Thread(target=self._ask_all_the_time, args=(server,), daemon=True) for server in servers]

    def start(self):
        for thread in self._threads:
            thread.start()

    def _ask_all_the_time(self, server):
        connection, last = None, time.time()
        while not self.ended.wait(0.01):
            connection = self._ask(server, connection)
            self.longest[server.name] = max(self.longest[server.name], time.time() - last)
            last = time.time()
        if connection is not None:
            connection.close()

    def _ask(self, server, connection):
        """Returns the connection to go on with, or nothing."""
        began, key = time.time(), str(uuid.uuid4())
        self.asked[server.name] += 1
        try:
            if connection is None or connection.closed:
                connection = psycopg2.connect(
                    host="127.0.0.1", port=server.port, dbname="guestbook", user="guestbook_app",
                    password=server.passwords["guestbook_app"], connect_timeout=2,
                    options="-c default_transaction_read_only=off -c lock_timeout=1s -c statement_timeout=2s")
                connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute("INSERT INTO visit (request_id, how) VALUES (%s, 'asked')", (key,))
            self.taken.append((server.name, key, began, time.time()))
        except psycopg2.Error:
            return connection if connection is not None and not connection.closed else None
        return connection

    def stop(self):
        self.ended.set()
        for thread in self._threads:
            thread.join(30.0)
