# SPDX-License-Identifier: Apache-2.0
"""The fleet with Sluice on it: a coordinator on SQLite, an agent on each node, the operator's commands."""

import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import threading
import time
import urllib.request

import owner_level
import pooler
from fleet import Fleet
from journal import Journal
from node import GUESTBOOK, REPOSITORY
from ports import COORDINATOR
from postgres import MIGRATOR, VISITS
from processes import memory_megabytes, processor_seconds, wait_until

PLAN = REPOSITORY / "plans" / "guestbook-v2.yaml"


class SluiceFleet(Fleet):
    # As a run's journal names the database that clients use, where it has several.
    main_database = "default"
    """A fleet on v1 that is ready for `sluice apply`."""

    def __init__(self, binaries, **options):
        super().__init__(**options)
        self.binaries = pathlib.Path(binaries)
        self.coordinator_port = self._ports.take()
        self.coordinator_url = "http://%s:%d" % (COORDINATOR, self.coordinator_port)
        self.data = self.directory / "coordinator"
        self.plans = self.directory / "plans"
        self.operator_token = None

    def before_first_release(self):
        self.data.mkdir()
        self.plans.mkdir()
        self.operator_token = self.tokens("--operator", "demo")[0]
        names = self.directory / "nodes"
        names.write_text("".join("%s role=web\n" % node.name for node in self.nodes))
        given = dict(line.split() for line in self.tokens("--file", names))
        for node in self.nodes:
            token = node.root / "etc" / "token"
            token.write_text(given[node.name] + "\n")
            token.chmod(0o600)
            (node.root / "etc" / "agent.yaml").write_text(self.agent_configuration(node))

    def start(self):
        super().start()
        self.start_coordinator()
        for node in self.nodes:
            self.start_agent(node)
        wait_until("every agent has been heard of", self.every_node_is_known)

    # The coordinator

    def tokens(self, *arguments):
        result = subprocess.run(
            [self.binaries / "sluice", "token", "create", "--data", self.data, *arguments], stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True)
        lines = result.stdout.splitlines()
        if result.returncode != 0 or not lines:
            raise RuntimeError("sluice token create %s printed no token: %s" % (
                " ".join(map(str, arguments)), result.stderr))
        return lines

    def start_coordinator(self):
        process = self.processes.start(
            "coordinator",
            [self.binaries / "sluice", "coordinator", "--data", self.data, "--listen",
             "%s:%d" % (COORDINATOR, self.coordinator_port)],
            self.directory / "coordinator.log", self.coordinator_environment())
        wait_until("the coordinator answers (log: %s)" % (self.directory / "coordinator.log"), self.coordinator_answers,
                   alive=process)

    def coordinator_environment(self):
        """The coordinator has the databases' URLs; operators and nodes never see them."""
        environment = {**os.environ, "SLUICE_DATABASE_URL": self.postgres.url(MIGRATOR),
                       "SLUICE_VISITS_URL": self.postgres.url(MIGRATOR, VISITS)}
        if self.pooler:
            # For a plan that is wrong.
            environment["SLUICE_POOLER_URL"] = self.pooler.url(self.postgres.url(MIGRATOR))
        return environment

    def coordinator_answers(self):
        try:
            with urllib.request.urlopen(self.coordinator_url + "/healthz", timeout=2.0) as response:
                return response.status == 200
        except OSError:
            return False

    def kill_coordinator(self):
        self.processes.kill("coordinator")

    # The agents

    def agent_name(self, node):
        return "agent %s" % node.name

    def start_agent(self, node):
        return self.processes.start(
            self.agent_name(node),
            [self.binaries / "sluice-agent", "run", "--config", node.root / "etc" / "agent.yaml"],
            node.root / "agent.log")

    def kill_agent(self, node):
        self.processes.kill(self.agent_name(node))

    def agent_configuration(self, node):
        """What /etc/sluice/agent.yaml is on a real node; see agents/agent.yaml."""
        actions = self.actions(node, ["start-app", "stop-app", "smoke-test"])
        # The application's own migration tool; see tools.py.
        actions += "".join(
            '  %s:\n    command: ["%s", "%s", "%s"]\n    timeout: 120s\n' % (
                name, GUESTBOOK / "bin" / "tool", verb, node.root / "etc" / "tool.env")
            for name, verb in [("migrate-back", "back"), ("migrate-early", "early"), ("migrate-late", "late"),
                               ("migrate-preview", "preview"), ("migrate", "up")])
        actions += '    probe: ["%s", "check", "%s"]\n' % (GUESTBOOK / "bin" / "tool", node.root / "etc" / "tool.env")
        actions += self.pooler.action() if self.pooler else ""
        # What a site of a database is closed by; the file says what was served then (databases.py).
        closed = "%s/closed-$SLUICE_DATABASE_NAME" % node.faults
        for name, command in [("close-site", "readlink %s/current > %s" % (node.app, closed)), ("open-site", "rm -f %s" % closed)]:
            actions += "  %s:\n    command: %s\n    timeout: 10s\n    repeatable: true\n" % (name, json.dumps(["/bin/sh", "-c", command]))
        # Until a page that was opened in the window has been told of it (open_tabs.py), or for ten seconds.
        actions += "  wait-for-late:\n    command: %s\n    repeatable: true\n" % json.dumps(
            ["/bin/sh", "-c", "n=0; until [ -e %s ] || [ $n -ge 100 ]; do sleep 0.1; n=$((n+1)); done" % (
                self.notes / "late-is-told")])
        return f"""{self.agent_places(node)}gate:
  routes:
    reading: ["POST /preview"]
actions:
{actions}health:
  page:
    # Through the proxy, as a user sees it: a page that reads the database, and the release that answers it.
    address: {node.address}:{node.port}
    path: /healthz
    header:
      name: X-Release
caches:
  pages:
    generation: true
"""

    def agent_places(self, node):
        """Who it is, whom it asks, and where everything lies: the same of every application."""
        return f"""node: {node.name}
coordinator:
  url: {self.coordinator_url}
  token: file:{node.root}/etc/token
directories:
  app: {node.app}
  state: {node.root}/state
  runtime: {node.run}/sluice
application:
  socket: "{node.run}/app/{{release}}.sock"
"""

    def actions(self, node, names):
        return "".join(
            "  %s:\n    command: %s\n    timeout: 60s\n    repeatable: true\n" % (name, json.dumps(node.command(name)))
            for name in names)

    def every_node_is_known(self):
        code, lines = self.operator("nodes", "--json")
        known = [json.loads(line) for line in lines] if code == 0 else []
        return len([node for node in known if node.get("status")]) == len(self.nodes)

    def agents_figures(self, seconds):
        """The most memory of (its own, resident) in MB and the highest processor share in percent, over so many idle seconds."""
        pids = [self.processes[self.agent_name(node)].pid for node in self.nodes]
        before = [processor_seconds(pid) for pid in pids]
        time.sleep(seconds)
        shares = [(processor_seconds(pid) - used) / seconds * 100 for pid, used in zip(pids, before)]
        return max(memory_megabytes(pid) for pid in pids), max(shares)

    # The operator

    def operator_environment(self):
        return {**os.environ, "SLUICE_COORDINATOR": self.coordinator_url, "SLUICE_TOKEN": self.operator_token,
                "NO_COLOR": "1"}

    def operator(self, *arguments):
        """Runs a command and returns its exit code and lines."""
        result = subprocess.run(
            [self.binaries / "sluice", *[str(argument) for argument in arguments]], stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, env=self.operator_environment(), timeout=120)
        return result.returncode, result.stdout.splitlines()

    def apply(self, plan, on_fact=None, say=print, patience=300.0):
        """`sluice apply --watch`; calls `on_fact` with each stored event as it arrives. Returns exit code and run."""
        process = subprocess.Popen(
            [self.binaries / "sluice", "apply", plan, "--watch", "--yes", "--json"], stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=self.operator_environment())
        run, began = None, None
        watchdog = threading.Timer(patience, process.kill)
        watchdog.start()
        try:
            for line in process.stdout:
                try:
                    message = json.loads(line)
                except ValueError:
                    say("  " + line.rstrip())
                    continue
                if message["type"] == "started":
                    run = message["run"]
                elif message["type"] == "connection":
                    say("  connection %s" % message["state"])
                elif message["type"] == "fact":
                    fact = message["entry"]
                    body = json.loads(fact["body"]) if "body" in fact else fact["event"]
                    began = began or fact["at"]
                    text = sentence(body)
                    if text:
                        say("  +%6.3f s  %s" % ((fact["at"] - began) / 1000, text))
                    if on_fact:
                        on_fact(body)
            return process.wait(), run
        finally:
            watchdog.cancel()
            if process.poll() is None:
                process.kill()
                process.wait()

    def journal(self, run):
        entries, after = [], 0
        while True:
            request = urllib.request.Request(
                "%s/v1/runs/%s/journal?after=%d" % (self.coordinator_url, run, after),
                headers={"Authorization": "Bearer " + self.operator_token, "Sluice-Protocol": "1"})
            with urllib.request.urlopen(request, timeout=10.0) as response:
                part = json.load(response)
            entries += [entry for entry in part["entries"] if entry["version"] > after]
            after = part.get("next")
            if after is None:
                return Journal(entries, self.main_database)

    def plan(self):
        """The demo's plan, where nothing goes wrong."""
        if self.strict:
            return self.variant("after-migration")
        return PLAN if self.postgres.fence == "complete" and not self.pooler else self.variant("demo")

    def next_plan(self, replace=()):
        """From v2 to v3, which has other assets and is the same otherwise."""
        bundle = self.directory / "bundles" / "v3"
        make_next_release(GUESTBOOK / "v2", bundle)
        return self.variant("next", replace=[
            ("name: v2\n", "name: v3\n"), ("expected: v1\n", "expected: v2\n"), (str(GUESTBOOK / "v2"), str(bundle)), *replace])

    def example(self):
        """The demo's plan, with its paths made absolute because it lies elsewhere."""
        return PLAN.read_text().replace("../Tests/Fixtures/guestbook", str(GUESTBOOK))

    def variant(self, name, replace=(), append=""):
        """The example with other words in it."""
        text = self.example()
        always = [("  warm: [start-app]\n", "  warm: [start-app]\n  start: after-migration\n")] if self.strict else []
        for old, new in [*always, *replace]:
            if old not in text:
                raise ValueError("the example plan has no %r" % old)
            text = text.replace(old, new)
        if self.pooler:
            append = pooler.RENEWED + append.removeprefix("\nhooks:\n")
        if self.postgres.fence == "owner":
            text = owner_level.ask_for(text, append)
        path = self.plans / ("%s.yaml" % name)
        path.write_text(text + append)
        return path


def make_next_release(old, new):
    """v2 once more, under the name of v3."""
    shutil.copytree(old, new, ignore=shutil.ignore_patterns("__pycache__", "assets"))
    program = new / "app.py"
    program.write_text(program.read_text().replace('RELEASE = "v2"', 'RELEASE = "v3"'))
    names = json.loads((old / "static" / "assets.json").read_text())
    (new / "static" / "assets").mkdir()
    for asset, name in names.items():
        content = (old / "static" / "assets" / name).read_bytes().replace(b"guestbook v2", b"guestbook v3")
        stem, suffix = asset.split(".")
        names[asset] = "%s.%s.%s" % (stem, hashlib.sha256(content).hexdigest()[:12], suffix)
        (new / "static" / "assets" / names[asset]).write_bytes(content)
    (new / "static" / "assets.json").write_text(json.dumps(names))


def sentence(body):
    """A stored event in a few words; nothing for those that are only numbers."""
    kind = body["type"]
    if kind == "step-began":
        return "%s%s: %s" % ("back: " if body["direction"] == "back" else "", body["phase"], body["step"])
    if kind == "database-task-ended":
        lines = (body.get("report") or {}).get("lines") or []
        failure = body.get("failure") or {}
        return "database: %s %s %s" % (body["kind"], body["result"], failure.get("message") or "; ".join(lines))
    if kind in ("node-failed", "node-quarantined"):
        return "%s: %s: %s" % (kind, body["node"], body["reason"])
    if kind == "database-left-out":
        return "goes on without %s: %s" % (body["database"], body["reason"])
    if kind in ("turned-back", "stopped"):
        return "%s: %s" % (kind, body["reason"])
    if kind == "ended":
        return "ended: %s" % body["outcome"]
    return None
