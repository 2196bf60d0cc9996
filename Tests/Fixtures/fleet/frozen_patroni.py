# SPDX-License-Identifier: Apache-2.0
"""The fleet with a standby whose two servers Debian's Patroni looks after: a store (etcd), and a Patroni beside each server."""

import base64
import json
import os
import pathlib
import shutil
import signal
import urllib.request

from frozen import REPLICATOR, SLOT, STANDBY, FrozenFleet
from postgres import ACCOUNT, binaries
from processes import wait_until

# What a change of anything wants.
USER, PASSWORD = "sluice", "secret"
PRIMARY = "guestbook_primary"
MANAGED = STANDBY + "    manager: {patroni: env:SLUICE_PATRONI_URL}\n"


class Patroni:
    """It takes over the servers as they run, as on a site that comes to Patroni later. Killed, it leaves its server alone."""

    def __init__(self, fleet):
        self.fleet, self.processes = fleet, fleet.processes
        self.directory = fleet.directory / "patroni"
        self.store, self.peer = fleet._ports.take(), fleet._ports.take()
        # The server of each member, and the port of its REST API.
        self.members = {PRIMARY: (fleet.postgres, fleet._ports.take()), SLOT: (fleet.standby, fleet._ports.take())}

    def start(self):
        self.directory.mkdir()
        if os.geteuid() == 0:
            shutil.chown(self.directory, ACCOUNT, ACCOUNT)
        client, peer = ("http://127.0.0.1:%d" % port for port in (self.store, self.peer))
        self.processes.start("etcd", [
            "/usr/bin/etcd", "--data-dir", self.directory / "etcd", "--listen-client-urls", client, "--advertise-client-urls", client,
            "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", "default=" + peer,
            "--unsafe-no-fsync"], self.directory.parent / "etcd.log", user=ACCOUNT, directory="/")
        wait_until("etcd answers", lambda: self.answer(self.store, "health"))
        for name in self.members:
            self.write_settings(name)
        self.start_members()
        # From now on the servers run with the files that it has written.
        for name, (server, _) in self.members.items():
            self.kill_member(name)
            self.fleet.kill_server(server)
            self.fleet.start_server(server)
        self.start_members()
        wait_until("the standby streams", self.fleet.standby.streams, 60.0)

    def start_members(self):
        """The primary's first: one that finds no leader leaves a standby alone."""
        for name, role in ((PRIMARY, "primary"), (SLOT, "replica")):
            self.start_member(name)
            wait_until("Patroni's %s is there (log: %s)" % (role, self.log(name)), lambda: self.ask(name, role) is not None, 60.0)

    def write_settings(self, name):
        server, api = self.members[name]
        passwords = self.fleet.postgres.passwords
        path = self.directory / ("%s.yml" % name)
        path.write_text(f"""scope: guestbook
name: {name}
restapi:
  listen: 127.0.0.1:{api}
  connect_address: 127.0.0.1:{api}
  authentication: {{username: {USER}, password: {PASSWORD}}}
etcd3: {{host: "127.0.0.1:{self.store}"}}
bootstrap:
  dcs:
    ttl: 20
    loop_wait: 1
    retry_timeout: 3
    maximum_lag_on_failover: 1048576
    postgresql: {{use_slots: true, use_pg_rewind: true, parameters: {{max_connections: 150, wal_level: logical}}}}
postgresql:
  listen: 127.0.0.1:{server.port}
  connect_address: 127.0.0.1:{server.port}
  data_dir: {server.data}
  bin_dir: {binaries()}
  pgpass: {self.directory}/{name}.pgpass
  authentication:
    superuser: {{username: postgres, password: {passwords["postgres"]}}}
    replication: {{username: {REPLICATOR}, password: {passwords[REPLICATOR]}}}
  parameters: {{unix_socket_directories: "", shared_buffers: 64MB}}
""")
        if os.geteuid() == 0:
            shutil.chown(path, ACCOUNT, ACCOUNT)
        path.chmod(0o600)

    def log(self, name):
        return self.directory.parent / ("%s.log" % name)

    def start_member(self, name):
        self.processes.start(
            name, ["/usr/bin/patroni", self.directory / ("%s.yml" % name)], self.log(name), user=ACCOUNT, directory="/",
            environment={**os.environ, "HOME": str(self.directory)}, end_with=signal.SIGKILL)

    def kill_member(self, name):
        self.processes.kill(name)

    def url(self):
        return "http://%s:%s@127.0.0.1:%d" % (USER, PASSWORD, self.members[SLOT][1])

    def ask(self, name, page):
        return self.answer(self.members[name][1], page)

    def answer(self, port, page):
        """The body of a page that is answered with 200, or nothing."""
        try:
            with urllib.request.urlopen("http://127.0.0.1:%d/%s" % (port, page), timeout=3.0) as response:
                return response.read().decode()
        except OSError:
            return None

    def leader(self):
        members = json.loads(self.ask(SLOT, "cluster") or "{}").get("members", [])
        return next((member["name"] for member in members if member["role"] == "leader"), "nobody")

    def leads_the_standby(self):
        return self.leader() == SLOT

    def state(self):
        """What has to be as before: its settings, who leads, and whether it is paused."""
        settings = json.dumps(json.loads(self.ask(SLOT, "config")), indent=1, sort_keys=True)
        return settings + "\nleader: %s\n" % self.leader() + "".join(
            "%s: paused %s\n" % (name, json.loads(self.ask(name, "patroni") or "{}").get("pause", False)) for name in self.members)

    def end_servers(self):
        """What a Patroni has started itself, by the number that the server has written into its directory of ours."""
        for server, _ in self.members.values():
            try:
                pid = int((pathlib.Path(server.data) / "postmaster.pid").read_text().split()[0])
                if str(server.data).encode() in pathlib.Path("/proc/%d/cmdline" % pid).read_bytes():
                    os.kill(pid, signal.SIGQUIT)
            except (OSError, ValueError, IndexError):
                continue


class PatroniFleet(FrozenFleet):
    def __init__(self, binaries, **options):
        super().__init__(binaries, **options)
        self.patroni = Patroni(self)

    def prepare_database(self):
        url = super().prepare_database()
        self.patroni.start()
        return url

    def coordinator_environment(self):
        return {**super().coordinator_environment(), "SLUICE_PATRONI_URL": self.patroni.url()}

    def example(self):
        return super().example().replace(STANDBY, MANAGED)

    def kill_leader(self):
        """The machine of the first primary: Patroni, then its server."""
        self.patroni.kill_member(PRIMARY)
        self.kill_server(self.postgres)

    def start_leader(self):
        """The server first, as a service of its own would; Patroni finds it running."""
        self.start_server(self.postgres)
        self.patroni.start_member(PRIMARY)

    def stop(self):
        if not self.keep:
            for name in self.patroni.members:
                self.processes.stop(name)
            self.patroni.end_servers()
        super().stop()
