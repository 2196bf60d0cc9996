# SPDX-License-Identifier: Apache-2.0
"""A coordinator for figures: with a store of its own and without a fleet around it."""

import json
import os
import pathlib
import subprocess
import urllib.request

from processes import Processes, wait_until


class BareSite:
    """What lies below one temporary directory; whoever makes it starts the coordinator at `url`."""

    def __init__(self, directory, options, url):
        self.directory = pathlib.Path(directory)
        self.options = options
        self.url = url
        self.store = self.directory / "store"
        self.processes = Processes()
        self.token = None

    def sluice(self, *arguments, **options):
        return subprocess.run([str(self.options.binaries / "sluice"), *map(str, arguments)], check=True, text=True,
                              stdout=subprocess.PIPE, **options).stdout

    def create_token(self, *arguments):
        return self.sluice("token", "create", "--data", self.store, *arguments)

    def create_operator(self):
        self.token = self.create_token("--operator", "ada").strip()

    def ask(self, path):
        request = urllib.request.Request(self.url + path, headers={"Authorization": "Bearer %s" % self.token})
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def apply(self, plan):
        """Starts a run, and returns its name."""
        self.sluice("apply", plan, "--yes", "--no-watch", "--coordinator", self.url,
                    env=dict(os.environ, SLUICE_TOKEN=self.token))
        return self.ask("/v1/runs")[0]["run"]

    def end_of(self, run, patience):
        """What is to be seen of a run once it has ended."""
        wait_until("the run has ended", lambda: self.ask("/v1/runs")[0].get("endedAt"), deadline=patience, every=0.2)
        return self.ask("/v1/runs/%s" % run)

    def end(self):
        for name in self.processes.names():
            self.processes.stop(name)
