# SPDX-License-Identifier: Apache-2.0
"""A coordinator with thousands of agents that obey at once: the figures of docs/figures.md.

    /usr/bin/python3 Tests/Fixtures/fleet/swarm.py --binaries DIRECTORY --nodes 1000 [--batches 2] [--watch] [--strangers 60]
                                                   [--files 1024] [--statements 50000] [--history 200] [--idle 20]

DIRECTORY has `sluice` and `Swarm`, of a release build for figures. Everything lives below one temporary directory and on loopback.
"""

import argparse
import os
import pathlib
import resource
import shutil
import socket
import subprocess
import tempfile
import threading
import time
import urllib.request

import history
from bare import BareSite
from following import Follower
from journal import Journal
from ports import Ports
from postgres import MIGRATOR, Postgres
from processes import wait_until

PLAN = """
fleet: swarm
nodes: {labels: {role: web}}
release: {name: v2, expected: v1, bundle: bundle}
database: {url: "env:SLUICE_DATABASE_URL", migrations: %s}
rollout: {canary: %d, batches: %d, health: {check: page}, caches: [pages]}
"""
TICKS = os.sysconf("SC_CLK_TCK")


class Site(BareSite):
    def __init__(self, directory, options):
        self.ports = Ports()
        self.port = self.ports.take()
        super().__init__(directory, options, "http://127.0.0.1:%d" % self.port)
        self.slowest_health = 0.0
        self.watching = False

    def prepare(self):
        fixtures = pathlib.Path(__file__).resolve().parent.parent / "guestbook"
        bundle = self.directory / "bundle"
        bundle.mkdir()
        (bundle / "app.py").write_text("print('v2')\n")
        migrations = fixtures / "migrations"
        if self.options.statements:
            migrations = self.directory / "migrations"
            migrations.mkdir()
            for file in (fixtures / "migrations").iterdir():
                shutil.copy(file, migrations / ("9" + file.name))
            self.write_statements(migrations)
        plan = self.directory / "plan.yaml"
        # All of one size, the canary among them.
        batch = -(-self.options.nodes // self.options.batches)
        plan.write_text(PLAN % (migrations, batch, batch))
        names = self.directory / "nodes.txt"
        names.write_text("".join("web-%05d\n" % number for number in range(self.options.nodes)))
        began = time.monotonic()
        tokens = self.create_token("--file", names, "--label", "role=web")
        print("%d tokens in one command: %.1f s" % (self.options.nodes, time.monotonic() - began))
        (self.directory / "tokens.txt").write_text(tokens)
        self.create_operator()
        self.postgres = Postgres(self.directory / "postgres", self.ports.take(), self.processes)
        self.postgres.create()
        self.postgres.run_file(fixtures / "schema.sql")

    def write_statements(self, migrations):
        """Files of 5,000 statements that any release lives with."""
        for first in range(0, self.options.statements, 5000):
            count = min(5000, self.options.statements - first)
            text = "".join(
                "COMMENT ON TABLE public.entry IS 'statement %d of many, as a generated file has them';\n" % (first + number)
                for number in range(count))
            name = "%04d_many" % (1000 + first // 5000)
            (migrations / (name + ".up.sql")).write_text("-- sluice: expand\n" + text)
            (migrations / (name + ".down.sql")).write_text("COMMENT ON TABLE public.entry IS NULL;\n")

    def lead(self):
        def limit():
            if self.options.files:
                resource.setrlimit(resource.RLIMIT_NOFILE, (self.options.files, self.options.files))
        environment = dict(os.environ, SLUICE_DATABASE_URL=self.postgres.url(MIGRATOR))
        with open(self.directory / "coordinator.log", "ab") as log:
            self.coordinator = subprocess.Popen(
                [str(self.options.binaries / "sluice"), "coordinator", "--data", str(self.store),
                 "--listen", "127.0.0.1:%d" % self.port], env=environment, stdout=log, stderr=log, preexec_fn=limit)
        began = time.monotonic()
        wait_until("the coordinator leads", self.is_healthy, alive=self.coordinator)
        print("leads after %.2f s" % (time.monotonic() - began))

    def is_healthy(self):
        try:
            with urllib.request.urlopen(self.url + "/healthz", timeout=10) as answer:
                return answer.status == 200
        except OSError:
            return False

    def watch_health(self):
        while self.watching:
            began = time.monotonic()
            if not self.is_healthy():
                print("/healthz failed")
            self.slowest_health = max(self.slowest_health, time.monotonic() - began)
            time.sleep(0.05)

    def cpu(self):
        fields = pathlib.Path("/proc/%d/stat" % self.coordinator.pid).read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def memory(self):
        for line in pathlib.Path("/proc/%d/status" % self.coordinator.pid).read_text().splitlines():
            if line.startswith("VmRSS"):
                return int(line.split()[1]) * 1024

    def measure(self):
        nodes = self.options.nodes
        before = self.memory()
        strangers = [socket.create_connection(("127.0.0.1", self.port)) for _ in range(self.options.strangers)]
        self.processes.start(
            "swarm", [self.options.binaries / "Swarm", "127.0.0.1", self.port, self.directory / "tokens.txt"],
            self.directory / "swarm.log")
        wait_until("every node has reported", lambda: all(node.get("status") for node in self.ask("/v1/nodes")),
                   deadline=300, every=1)
        time.sleep(5)
        print("memory a node: %.0f KB" % ((self.memory() - before) / nodes / 1000))
        idle = self.cpu()
        time.sleep(self.options.idle)
        print("idle: %.0f %% of a core" % ((self.cpu() - idle) / self.options.idle * 100))
        self.watching = True
        watcher = threading.Thread(target=self.watch_health)
        watcher.start()
        begun = self.cpu()
        run = self.apply(self.directory / "plan.yaml")
        follower = None
        if self.options.watch:
            follower = Follower(self.port, self.token, run)
            follower.start()
        view = self.end_of(run, patience=600)
        used = self.cpu() - begun
        self.watching = False
        watcher.join()
        print("run %s%s" % (view["summary"]["state"], ": " + view["reason"] if view.get("reason") else ""))
        if view.get("windowClosed"):
            print("window %.3f s" % ((view["windowClosed"] - view["windowOpened"]) / 1000))
        print("CPU a node and run: %.2f ms" % (used * 1000 / nodes))
        print("slowest /healthz in the run: %.0f ms" % (self.slowest_health * 1000))
        self.tell_steps(run)
        if follower:
            follower.join(60)
            print("a watch is behind by %.2f s at most with events, by %.2f s with views (%d and %d)" % (
                follower.slowest_fact, follower.slowest_view, follower.facts, follower.views))
        for stranger in strangers:
            stranger.close()

    def tell_steps(self, run):
        journal = Journal(self.ask("/v1/runs/%s/journal" % run)["entries"])
        steps = [(step, (ended - began) * 1000) for _, _, step, began, ended in journal.steps()]
        print("step by step: %s%s" % (
            ", ".join("%s %.0f ms" % step for step in steps[:40]), " …" if len(steps) > 40 else ""))

    def restart_with_history(self):
        """Leads again with so many runs in the store."""
        self.coordinator.terminate()
        self.coordinator.wait()
        events = history.multiply(self.store / "sluice.db", self.options.history)
        print("%d ended runs, %d events:" % (self.options.history, events))
        self.lead()

    def end(self):
        if hasattr(self, "coordinator") and self.coordinator.poll() is None:
            self.coordinator.terminate()
            self.coordinator.wait()
        super().end()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binaries", type=pathlib.Path, required=True)
    parser.add_argument("--nodes", type=int, default=1000)
    parser.add_argument("--batches", type=int, default=2)
    parser.add_argument("--strangers", type=int, default=0)
    parser.add_argument("--files", type=int, default=0)
    parser.add_argument("--statements", type=int, default=0, help="so many more statements among the migrations")
    parser.add_argument("--watch", action="store_true", help="watch the run, and say how far behind that is")
    parser.add_argument("--history", type=int, default=0, help="start the coordinator again with so many ended runs")
    parser.add_argument("--idle", type=int, default=20)
    parser.add_argument("--keep", action="store_true")
    options = parser.parse_args()
    directory = tempfile.mkdtemp(prefix="sluice-swarm-")
    os.chmod(directory, 0o755)
    site = Site(directory, options)
    try:
        site.prepare()
        site.lead()
        site.measure()
        if options.history:
            site.restart_with_history()
    finally:
        site.end()
        if options.keep:
            print("kept: %s" % directory)
        else:
            shutil.rmtree(directory)


if __name__ == "__main__":
    main()
