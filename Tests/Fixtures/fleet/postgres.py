# SPDX-License-Identifier: Apache-2.0
"""A private PostgreSQL cluster, as durable as a real one, with the roles of the guestbook."""

import glob
import os
import pathlib
import secrets
import shutil
import signal
import subprocess

import psycopg2

from processes import wait_until

ACCOUNT = "postgres"

# Who may connect: the application, a script that writes through a group, a person who is a member of the owner, a reader.
LOGINS = ["guestbook_app", "guestbook_batch", "guestbook_admin", "guestbook_report"]

# Sluice's own role: nobody else uses it.
MIGRATOR = "sluice_migrator"

# A second database, of those who ask for one.
VISITS = "guestbook_visits"

# What it is given, by the level of the plan's fence: a complete one has event triggers, which only a superuser may make.
RIGHTS = {
    "complete": "ALTER ROLE sluice_migrator SUPERUSER",
    "owner": "GRANT guestbook_owner, pg_read_all_stats, pg_signal_backend TO sluice_migrator;"
             " GRANT CREATE ON DATABASE guestbook TO sluice_migrator",
}

ROLES = """
CREATE ROLE guestbook_owner NOLOGIN;
CREATE ROLE guestbook_writers NOLOGIN;
CREATE ROLE guestbook_reader NOLOGIN;
GRANT guestbook_writers TO guestbook_batch;
GRANT guestbook_owner TO guestbook_admin;
GRANT guestbook_reader TO guestbook_report;
"""


def binaries():
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin"), key=lambda path: int(path.split("/")[4]))
    if not found:
        raise RuntimeError("PostgreSQL is missing: run scripts/install-dependencies")
    return pathlib.Path(found[-1])


class Postgres:
    # Of the process.
    name = "postgres"
    # What initdb is told besides.
    initdb_options = []

    def __init__(self, directory, port, processes, fence="complete"):
        self.fence = fence
        self.directory = pathlib.Path(directory)
        self.data = self.directory / "data"
        self.log = self.directory / "postgres.log"
        self.port = port
        self.processes = processes
        # The one that is meant where none is named.
        self.database = "guestbook"
        self.passwords = {name: secrets.token_hex(12) for name in ["postgres", MIGRATOR, *LOGINS]}

    def create(self):
        self.directory.mkdir(parents=True)
        secret = self.directory / "superuser"
        secret.write_text(self.passwords["postgres"] + "\n")
        secret.chmod(0o600)
        if os.geteuid() == 0:
            shutil.chown(self.directory, ACCOUNT, ACCOUNT)
            shutil.chown(secret, ACCOUNT, ACCOUNT)
        self._as_account([
            binaries() / "initdb", "--pgdata", self.data, "--username", "postgres", "--pwfile", secret,
            "--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C.UTF-8", "--no-sync", *self.initdb_options])
        secret.unlink()
        self.start()
        for name in [MIGRATOR, *LOGINS]:
            self.query('CREATE ROLE "%s" LOGIN PASSWORD %%s' % name, (self.passwords[name],), database="postgres")
        self.query(ROLES, database="postgres")
        self.query("CREATE DATABASE guestbook OWNER guestbook_owner", database="postgres")
        self.query(RIGHTS[self.fence], database="postgres")

    def start(self):
        # wal_level: the checker reads every commit of the run out of the log, in order, by logical decoding.
        settings = {
            "listen_addresses": "127.0.0.1", "port": self.port, "unix_socket_directories": "", "fsync": "on",
            "synchronous_commit": "on", "wal_level": "logical", "max_connections": 150, "shared_buffers": "64MB",
            "log_line_prefix": "%m [%p] %u@%d ", "log_lock_waits": "on", "deadlock_timeout": "200ms",
            "autovacuum_naptime": "10min", "timezone": "UTC"}
        command = [binaries() / "postgres", "-D", self.data]
        for name, value in settings.items():
            command += ["-c", "%s=%s" % (name, value)]
        if not self.log.exists():
            self.log.touch()
        # SIGQUIT: at once, without a checkpoint. Whoever stops it throws it away.
        process = self.processes.start(
            self.name, command, self.log, user=ACCOUNT, directory="/", end_with=signal.SIGQUIT)
        wait_until("PostgreSQL accepts connections (log: %s)" % self.log, self._accepts, alive=process)

    def connect(self, user="postgres", autocommit=False, database=None, options=""):
        connection = psycopg2.connect(
            host="127.0.0.1", port=self.port, dbname=database or self.database, user=user, password=self.passwords[user],
            connect_timeout=5, options=options, application_name="fleet %s" % user)
        connection.autocommit = autocommit
        return connection

    def query_all(self, statements, database=None):
        """The rows of each, by its name, over one connection."""
        connection = self.connect(autocommit=True, database=database)
        try:
            with connection.cursor() as cursor:
                found = {}
                for name, statement in statements.items():
                    cursor.execute(statement)
                    found[name] = cursor.fetchall()
                return found
        finally:
            connection.close()

    def query(self, statement, values=(), user="postgres", database=None):
        connection = self.connect(user=user, autocommit=True, database=database)
        try:
            with connection.cursor() as cursor:
                cursor.execute(statement, values or None)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()

    def url(self, user="postgres", database=None):
        return "postgresql://%s:%s@127.0.0.1:%d/%s" % (
            user, self.passwords[user], self.port, database or self.database)

    def add_site(self, name):
        """A database whose one role owns it and logs in as its owner, as most frameworks have it; from now on the default.

        Returns its URL.
        """
        self.passwords[name] = secrets.token_hex(12)
        self.query('CREATE ROLE "%s" LOGIN PASSWORD %%s' % name, (self.passwords[name],), database="postgres")
        self.query('CREATE DATABASE "%s" OWNER "%s"' % (name, name), database="postgres")
        if self.fence == "owner":
            self.query('GRANT "%s" TO %s; GRANT CREATE ON DATABASE "%s" TO %s' % (name, MIGRATOR, name, MIGRATOR),
                       database="postgres")
        self.database = name
        return self.url(name)

    def run_file(self, path):
        """Runs a file of statements the way a person would, with psql."""
        subprocess.run(
            ["psql", "--no-psqlrc", "--quiet", "--set", "ON_ERROR_STOP=1", "--file", str(path), self.url()],
            check=True, stdout=subprocess.DEVNULL)

    def seed(self, entries):
        """Entries with names of one, two and three words, so that the split has something to lose."""
        self.query(
            "INSERT INTO entry (request_id, message, author)"
            " SELECT gen_random_uuid(), 'Entry number ' || n,"
            "        (ARRAY['Ada Lovelace', 'Plato', 'Jean Paul Sartre', 'Sofja Kovalevskaja', 'Zoë Ångström'])[1 + n %% 5]"
            "   FROM generate_series(1, %s) AS n", (entries,))
        self.query("ANALYZE")

    def _accepts(self):
        try:
            self.connect(database="postgres").close()
            return True
        except psycopg2.OperationalError:
            return False

    def _as_account(self, command):
        options = {}
        if os.geteuid() == 0:
            options = {"user": ACCOUNT, "group": ACCOUNT, "extra_groups": []}
        result = subprocess.run(
            [str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd="/", **options)
        if result.returncode != 0:
            raise RuntimeError("%s failed:\n%s" % (command[0], result.stdout.decode()))
