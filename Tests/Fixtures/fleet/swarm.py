# SPDX-License-Identifier: Apache-2.0
"""A coordinator with thousands of agents that obey at once: the figures of docs/coordinator.md.

    /usr/bin/python3 Tests/Fixtures/fleet/swarm.py --binaries DIRECTORY --nodes 1000 [--batches 2] [--strangers 60]
                                                   [--files 1024] [--idle 20]

DIRECTORY has `sluice` and `Swarm`, of a release build for figures. Everything lives below one temporary directory and on loopback.
"""

import argparse
import json
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

from ports import Ports
from postgres import MIGRATOR, Postgres
from processes import Processes, wait_until

PLAN = """
fleet: swarm
nodes: {labels: {role: web}}
release: {name: v2, expected: v1, bundle: bundle}
database: {url: "env:SLUICE_DATABASE_URL", migrations: %s}
rollout: {batches: %d, health: {check: page}, caches: [pages]}
"""
TICKS = os.sysconf("SC_CLK_TCK")


class Site:
    def __init__(self, directory, options):
        self.directory = pathlib.Path(directory)
        self.options = options
        self.processes = Processes()
        self.ports = Ports()
        self.port = self.ports.take()
        self.slowest_health = 0.0
        self.watching = False

    def sluice(self, *arguments, **options):
        return subprocess.run([str(self.options.binaries / "sluice"), *map(str, arguments)], check=True, text=True,
                              stdout=subprocess.PIPE, **options).stdout

    def prepare(self):
        fixtures = pathlib.Path(__file__).resolve().parent.parent / "guestbook"
        bundle = self.directory / "bundle"
        bundle.mkdir()
        (bundle / "app.py").write_text("print('v2')\n")
        plan = self.directory / "plan.yaml"
        plan.write_text(PLAN % (fixtures / "migrations", self.options.batches))
        names = self.directory / "nodes.txt"
        names.write_text("".join("web-%05d\n" % number for number in range(self.options.nodes)))
        store = self.directory / "store"
        began = time.monotonic()
        tokens = self.sluice("token", "create", "--data", store, "--file", names, "--label", "role=web")
        print("%d tokens in one command: %.1f s" % (self.options.nodes, time.monotonic() - began))
        (self.directory / "tokens.txt").write_text(tokens)
        self.token = self.sluice("token", "create", "--data", store, "--operator", "ada").strip()
        self.postgres = Postgres(self.directory / "postgres", self.ports.take(), self.processes)
        self.postgres.create()
        self.postgres.run_file(fixtures / "schema.sql")

    def lead(self):
        def limit():
            if self.options.files:
                resource.setrlimit(resource.RLIMIT_NOFILE, (self.options.files, self.options.files))
        environment = dict(os.environ, SLUICE_DATABASE_URL=self.postgres.url(MIGRATOR))
        with open(self.directory / "coordinator.log", "ab") as log:
            self.coordinator = subprocess.Popen(
                [str(self.options.binaries / "sluice"), "coordinator", "--data", str(self.directory / "store"),
                 "--listen", "127.0.0.1:%d" % self.port], env=environment, stdout=log, stderr=log, preexec_fn=limit)
        began = time.monotonic()
        wait_until("the coordinator leads", self.is_healthy, alive=self.coordinator)
        print("leads after %.2f s" % (time.monotonic() - began))

    def is_healthy(self):
        try:
            with urllib.request.urlopen("http://127.0.0.1:%d/healthz" % self.port, timeout=10) as answer:
                return answer.status == 200
        except OSError:
            return False

    def ask(self, path):
        request = urllib.request.Request(
            "http://127.0.0.1:%d%s" % (self.port, path), headers={"Authorization": "Bearer %s" % self.token})
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

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
        self.sluice("apply", self.directory / "plan.yaml", "--yes", "--no-watch", "--coordinator",
                    "http://127.0.0.1:%d" % self.port, env=dict(os.environ, SLUICE_TOKEN=self.token))
        run = self.ask("/v1/runs")[0]["run"]
        wait_until("the run has ended", lambda: self.ask("/v1/runs")[0].get("endedAt"), deadline=600, every=0.2)
        self.watching = False
        watcher.join()
        view = self.ask("/v1/runs/%s" % run)
        print("run %s, window %.3f s" % (view["summary"]["state"], (view["windowClosed"] - view["windowOpened"]) / 1000))
        print("CPU a node and run: %.2f ms" % ((self.cpu() - begun) * 1000 / nodes))
        print("slowest /healthz in the run: %.0f ms" % (self.slowest_health * 1000))
        for stranger in strangers:
            stranger.close()

    def end(self):
        if hasattr(self, "coordinator") and self.coordinator.poll() is None:
            self.coordinator.terminate()
            self.coordinator.wait()
        for name in self.processes.names():
            self.processes.stop(name)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binaries", type=pathlib.Path, required=True)
    parser.add_argument("--nodes", type=int, default=1000)
    parser.add_argument("--batches", type=int, default=2)
    parser.add_argument("--strangers", type=int, default=0)
    parser.add_argument("--files", type=int, default=0)
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
    finally:
        site.end()
        if options.keep:
            print("kept: %s" % directory)
        else:
            shutil.rmtree(directory)


if __name__ == "__main__":
    main()
