# SPDX-License-Identifier: Apache-2.0
"""How long a release of many small files takes to one node, beside rsync on the same machine: a figure of docs/figures.md.

    /usr/bin/python3 Tests/Fixtures/fleet/many_files.py --binaries DIRECTORY [--files 20000] [--rounds 3]

DIRECTORY has `sluice` and `sluice-agent`, of a release build for figures. Each round has a release of its own, whose files no release
before it has: `sluice apply` reads and uploads it, the agent stages it, and `rsync -a --fsync` copies the same directory in the same
sitting, and once more without `--fsync` and one sync at the end, which costs less where a disk is slow. Everything lives below one temporary directory and on loopback.
"""

import argparse
import os
import pathlib
import random
import shutil
import statistics
import subprocess
import tempfile
import time

from bare import BareSite
from journal import Journal
from ports import COORDINATOR, Ports
from processes import wait_until

PLAN = """
fleet: files
nodes: {names: [web-1]}
release: {name: %s, bundle: %s}
rollout: {health: {check: alive}}
keep_releases: 1
"""
AGENT = """
node: web-1
coordinator: {url: "%s", token: "file:%s/token"}
directories: {app: %s/app, state: %s/state, runtime: %s/run}
actions:
  is-alive: {command: [/bin/true]}
health:
  alive: {action: is-alive}
"""


class Site(BareSite):
    def __init__(self, directory, options):
        super().__init__(directory, options, "http://%s:%d" % (COORDINATOR, Ports().take()))

    def make_bundle(self, name, files):
        """50 files a directory, 200 to 6,000 bytes each, as code and templates are."""
        numbers = random.Random(name)
        top = self.directory / "bundles" / name
        for number in range(files):
            place = top / ("%03d" % (number // 50))
            place.mkdir(parents=True, exist_ok=True)
            (place / ("file-%05d.txt" % number)).write_bytes(numbers.randbytes(numbers.randrange(200, 6000)))
        return top

    def prepare(self):
        (self.directory / "token").write_text(self.create_token("--node", "web-1"))
        os.chmod(self.directory / "token", 0o600)
        self.create_operator()
        for name in ("state", "run"):
            (self.directory / name).mkdir()
        configuration = self.directory / "agent.yaml"
        configuration.write_text(AGENT % ((self.url,) + (self.directory,) * 4))
        configuration.chmod(0o600)
        self.processes.start(
            "coordinator", [self.options.binaries / "sluice", "coordinator", "--data", self.store, "--listen", self.url[7:]],
            self.directory / "coordinator.log")
        agent = [self.options.binaries / "sluice-agent"]
        subprocess.run([*agent, "adopt", "--config", configuration, "--release", "v0", "--bundle", self.make_bundle("v0", 1)],
                       check=True, stdout=subprocess.DEVNULL)
        self.processes.start("agent", [*agent, "run", "--config", configuration], self.directory / "agent.log")
        wait_until("the node has reported", self.is_known, deadline=60)

    def is_known(self):
        try:
            return any(node.get("status") for node in self.ask("/v1/nodes"))
        except OSError:
            return False

    def upgrade(self, name, bundle):
        """Seconds of `sluice apply`, which ends when the run has begun, and seconds of its step that stages."""
        plan = self.directory / "plan.yaml"
        plan.write_text(PLAN % (name, bundle))
        os.sync()
        began = time.monotonic()
        run = self.apply(plan)
        uploaded = time.monotonic() - began
        view = self.end_of(run, patience=900)
        if view["summary"]["state"] != "done":
            raise RuntimeError("the run ended %s: %s" % (view["summary"]["state"], view.get("reason")))
        began, ended = Journal(self.ask("/v1/runs/%s/journal" % run)["entries"]).step("nodes:staged")
        return uploaded, ended - began

    def rsync(self, bundle, *options):
        with tempfile.TemporaryDirectory(dir=self.directory) as copy:
            os.sync()
            began = time.monotonic()
            subprocess.run(["rsync", "-a", *options, "%s/" % bundle, copy], check=True)
            if not options:
                os.sync()
            return time.monotonic() - began


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binaries", type=pathlib.Path, required=True)
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    directory = tempfile.mkdtemp(prefix="sluice-files-")
    site = Site(directory, options)
    try:
        site.prepare()
        found = []
        for number in range(1, options.rounds + 1):
            name = "v%d" % number
            bundle = site.make_bundle(name, options.files)
            found.append((*site.upgrade(name, bundle), site.rsync(bundle, "--fsync"), site.rsync(bundle)))
            print("%d files: read and uploaded in %.2f s, staged in %.2f s; rsync -a --fsync %.2f s, "
                  "rsync -a and one sync %.2f s; load %.1f" % (options.files, *found[-1], os.getloadavg()[0]), flush=True)
        upload, stage, each, once = (statistics.median(column) for column in zip(*found))
        print("medians: %.2f s, %.2f s; stage is %.2f of rsync --fsync and %.2f of rsync with one sync; with the upload %.2f, %.2f" % (
            upload, stage, stage / each, stage / once, (upload + stage) / each, (upload + stage) / once))
    finally:
        site.end()
        shutil.rmtree(directory)


if __name__ == "__main__":
    main()
