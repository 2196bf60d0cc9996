# SPDX-License-Identifier: Apache-2.0
"""A fleet whose releases are versions and no bundles: a directory by version on each node, and one service that is switched."""

import json
import shutil
import subprocess

from node import GUESTBOOK, Node
from sluice import SluiceFleet

VERSIONS = {"v1": "guestbook-1.0", "v2": "guestbook-2.0"}


class VersionNode(Node):
    store = None

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.versions = self.root / "versions"

    def service(self):
        return self.run / "app" / "service.sock"

    def write_environment(self, database_url):
        super().write_environment(database_url)
        self.versions.mkdir()
        with self.environment_file.open("a") as file:
            file.write("GUESTBOOK_STORE='%s'\nGUESTBOOK_VERSIONS='%s'\nGUESTBOOK_SERVICE='%s'\n" % (
                self.store, self.versions, self.service()))

    def locations(self):
        text = super().locations().replace("unix:%s/current/app.sock" % self.app, "unix:%s" % self.service())
        return text.replace("root %s;" % self.app, "root %s;" % self.versions)

    def version(self, name, *arguments):
        return subprocess.run(
            [*self.command("%s-version" % name), *arguments], env={"SLUICE_RELEASE": "v1"}, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, timeout=60, check=True).stdout.decode().split()[-1]

    def running_applications(self):
        served = self.version("report")
        return [release for release, version in VERSIONS.items() if version == served]

    def start_took(self, release):
        return None


class VersionFleet(SluiceFleet):
    node_type = VersionNode

    def before_first_release(self):
        store = self.directory / "store"
        for release, version in VERSIONS.items():
            shutil.copytree(GUESTBOOK / release, store / version)
        super().before_first_release()

    def start(self):
        for node in self.nodes:
            node.store = self.directory / "store"
        super().start()

    def first_release(self):
        for node in self.nodes:
            node.version("fetch", VERSIONS["v1"])
            node.version("switch", VERSIONS["v1"])
            subprocess.run(
                [self.binaries / "sluice-agent", "adopt", "--config", node.root / "etc" / "agent.yaml", "--release", "v1",
                 "--version-name", VERSIONS["v1"]], stdout=subprocess.DEVNULL, timeout=60, check=True)

    def agent_configuration(self, node):
        text = super().agent_configuration(node)
        socket = 'application:\n  socket: "%s/app/{release}.sock"\n' % node.run
        actions = "release: {fetch: fetch-version, switch: switch-version, report: report-version}\nactions:\n" + "".join(
            "  %s-version:\n    command: %s\n    timeout: 60s\n    repeatable: true\n" % (
                name, json.dumps(node.command("%s-version" % name) + more))
            for name, more in [("fetch", ["{version}"]), ("switch", ["{version}"]), ("report", [])])
        for old, new in [(socket, ""), ("actions:\n", actions)]:
            if old not in text:
                raise ValueError("the agent's configuration has no %r" % old)
            text = text.replace(old, new)
        return text

    def example(self):
        text = super().example()
        for old, new in [("bundle: %s/v2" % GUESTBOOK, "by: actions\n  version: %s" % VERSIONS["v2"]),
                         ("  warm: [start-app]\n", ""), ("  retire: [stop-app]\n", "")]:
            if old not in text:
                raise ValueError("the example plan has no %r" % old)
            text = text.replace(old, new)
        return text

    def plan(self):
        return self.variant("versions")
