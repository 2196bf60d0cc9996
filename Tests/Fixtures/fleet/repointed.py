# SPDX-License-Identifier: Apache-2.0
"""The fleet with a frozen standby whose application runs once: a pgbouncer on each node leads it to the standby and back."""

import os
import secrets
import shutil

from frozen import FrozenFleet
from node import REPOSITORY
from pooler import PROGRAM
from postgres import ACCOUNT
from processes import wait_until
from versions import VERSIONS, VersionFleet, VersionNode

READS = "reads:\n  from: standby\n"
# A switch ends one application and starts another, on a busy machine.
HELD = "reads:\n  from: standby\n  hold_for: 30s\n"


class Pool:
    """pgbouncer on one node, with transaction pooling; `current.ini` says where it leads."""

    def __init__(self, node, port, postgres, standby):
        self.node, self.port = node, port
        self.servers_of = {"primary": postgres, "standby": standby}
        self.database, self.passwords = postgres.database, postgres.passwords
        self.directory = node.root / "pool"
        self.servers = self.directory / "servers"
        self.password = secrets.token_hex(12)

    def start(self):
        self.servers.mkdir(parents=True)
        for name, server in self.servers_of.items():
            (self.servers / (name + ".ini")).write_text("[databases]\n%s = host=127.0.0.1 port=%d dbname=%s\n" % (
                self.database, server.port, self.database))
        (self.servers / "current.ini").symlink_to("primary.ini")
        (self.directory / "users").write_text('"guestbook_app" "%s"\n"console" "%s"\n' % (
            self.passwords["guestbook_app"], self.password))
        (self.directory / "pgbouncer.ini").write_text(f"""%include {self.servers}/current.ini

[pgbouncer]
listen_addr = {self.node.address}
listen_port = {self.port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {self.directory}/users
admin_users = console
pool_mode = transaction
default_pool_size = 8
max_client_conn = 500
""")
        for path in [self.directory, self.servers, *self.directory.glob("*"), *self.servers.glob("*.ini")]:
            if not path.is_symlink():
                path.chmod(0o700 if path.is_dir() else 0o600)
                if os.geteuid() == 0:
                    shutil.chown(path, ACCOUNT, ACCOUNT)
        log = self.node.root / "pgbouncer.log"
        log.touch()
        process = self.node.processes.start(
            "pgbouncer %s" % self.node.name, [PROGRAM, self.directory / "pgbouncer.ini"], log, user=ACCOUNT, directory="/")
        wait_until("pgbouncer of %s listens (log: %s)" % (self.node.name, log), lambda: "process up" in log.read_text(),
                   alive=process)

    def url(self):
        return "postgresql://guestbook_app:%s@%s:%d/%s" % (
            self.passwords["guestbook_app"], self.node.address, self.port, self.database)

    def console(self):
        return "host=%s port=%d dbname=pgbouncer user=console password=%s" % (self.node.address, self.port, self.password)


class RepointedNode(VersionNode):
    pool = None

    def create(self, database_url):
        self.root.mkdir(exist_ok=True)
        self.root.chmod(0o711)
        self.pool.start()
        super().create(self.pool.url())

    def write_environment(self, database_url):
        super().write_environment(database_url)
        with self.environment_file.open("a") as file:
            file.write("GUESTBOOK_STAMPED=1\nGUESTBOOK_POOL='%s'\nPGBOUNCER='%s'\n" % (self.pool.servers, self.pool.console()))

    def served(self):
        """The identifier of what is current: `v1.3f786850e387.standby` for one that works on the standby."""
        return (self.app / "current").readlink().name.split("-", 1)[1]

    def running_applications(self):
        # The version, and the server that answers it.
        served = self.version("report", "version")
        return [release for release, version in VERSIONS.items() if version == served]


class RepointedFleet(VersionFleet, FrozenFleet):
    node_type = RepointedNode

    def prepare_database(self):
        url = super().prepare_database()
        port = self._ports.take()
        for node in self.nodes:
            node.pool = Pool(node, port, self.postgres, self.standby)
        return url

    def agent_configuration(self, node):
        return super().agent_configuration(node).replace("release: {fetch:", "release: {standby: true, fetch:")

    def example(self):
        text = super().example()
        if not self.is_frozen:
            return text
        if READS not in text:
            raise ValueError("the example plan reads otherwise")
        return text.replace(READS, HELD)

    def plan(self):
        return self.variant("repointed")
