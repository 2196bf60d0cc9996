# SPDX-License-Identifier: Apache-2.0
"""Puts a fleet together below one temporary directory and takes it apart again, whatever happened between."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile

from balancer import Balancer
from node import GUESTBOOK, Node
from pooler import Pooler
from ports import BALANCER, NODES, Ports
from postgres import Postgres
from processes import Processes, side_by_side, wait_until

HERE = pathlib.Path(__file__).resolve().parent


class Fleet:
    """PostgreSQL, nodes on v1, a load balancer. `with Fleet() as fleet:` is the whole of its life.

    Another application is another `node_type`, `bundle`, `prepare_database`, and `first_release`.
    """

    node_type = Node

    def __init__(self, entries=2000, nodes=3, keep=False, strict=False, script=False, fence="complete", pooler=False):
        # Whether v2 refuses to start on the schema of v1.
        self.strict = strict
        # Whether pages carry the browser script.
        self.script = script
        self.entries = entries
        self.keep = keep
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="sluice-fleet."))
        # PostgreSQL runs under another account and has to reach its own directory.
        self.directory.chmod(0o711)
        self.processes = Processes()
        ports = self._ports = Ports()
        self.postgres = Postgres(self.directory / "postgres", ports.take(), self.processes, fence)
        # Between the application and PostgreSQL, or nothing.
        self.pooler = Pooler(self.directory / "pooler", ports.take(), self.postgres, self.processes) if pooler else None
        web = ports.take()
        self.nodes = [
            self.node_type("web-%d" % number, address, web, self.directory / ("web-%d" % number), self.processes)
            for number, address in enumerate(NODES[:nodes], start=1)]
        self.balancer = Balancer(BALANCER, web, self.directory / "balancer", self.nodes, self.processes)
        self.notes = self.directory / "clients"
        self.notes.mkdir()

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.keep = False
            self.stop()
            raise
        return self

    def __exit__(self, *_):
        self.stop()

    def start(self):
        self.postgres.create()
        self.direct = application = self.prepare_database()
        if self.pooler:
            self.pooler.start()
            application = self.pooler.url(application)
        for node in self.nodes:
            node.is_strict = self.strict
            node.has_script = self.script
            node.create(application)
        self.before_first_release()
        self.first_release()
        for node in self.nodes:
            node.start_nginx()
        self.balancer.start()

    def prepare_database(self):
        """Makes what v1 needs and returns the URL that the application connects with."""
        self.postgres.run_file(GUESTBOOK / "schema.sql")
        self.postgres.seed(self.entries)
        return self.postgres.url("guestbook_app")

    def bundle(self, release):
        return GUESTBOOK / release

    def before_first_release(self):
        """For those who add something to the nodes."""

    def first_release(self):
        """Puts every node on v1 and starts it there."""
        for node in self.nodes:
            node.install(self.bundle("v1"), "v1")
        side_by_side(lambda node: node.start_application("v1"), self.nodes)
        for node in self.nodes:
            node.activate("v1", 1)

    def stop(self):
        """Ends everything that this fleet started, by recorded pid, and removes its directory."""
        if self.keep:
            return
        for name in list(self.processes.names()):
            if name.startswith("client "):
                self.processes.stop(name)
        side_by_side(self.stop_applications, self.nodes)
        self.processes.stop_all()
        shutil.rmtree(self.directory, ignore_errors=True)

    @staticmethod
    def stop_applications(node):
        try:
            node.stop_applications()
        except (RuntimeError, OSError, subprocess.SubprocessError) as error:
            print("fleet: %s" % error, file=sys.stderr)

    # Clients

    def start_client(self, kind, rate, threads=2, seconds=600, seed=1, without=(), more=()):
        environment = {"PATH": os.environ["PATH"]}
        command = ["/usr/bin/python3", "-s", "-E", HERE / "clients.py", kind, "--out", self.notes, "--rate", rate,
                   "--threads", threads, "--seconds", seconds, "--seed", seed, *more]
        if kind == "sneaky":
            environment["FLEET_PASSWORDS"] = json.dumps(self.postgres.passwords)
            command += ["--port", self.postgres.port]
            for technique in without:
                command += ["--without", technique]
        else:
            command += ["--url", self.balancer.url()]
        self.processes.start("client %s" % kind, command, self.directory / ("%s.log" % kind), environment)

    def start_browser(self):
        """Chromium beside the other clients: a page is loaded, shown and used as readers do it."""
        self.processes.start(
            "client chromium",
            ["/usr/bin/python3", "-s", "-E", HERE / "chromium.py", "--out", self.notes, "--url", self.balancer.url()],
            self.directory / "chromium.log", {"PATH": os.environ["PATH"], "HOME": str(self.directory)})
        wait_until("Chromium shows a page", lambda: (self.notes / "chromium-0.ndjson").exists()
                   and "left-open" in (self.notes / "chromium-0.ndjson").read_text(),
                   alive=self.processes["client chromium"])

    def start_open_tabs(self):
        """A browser with pages open that carry the browser script; it outlives the other clients."""
        process = self.processes.start(
            "open tabs",
            ["/usr/bin/python3", "-s", "-E", HERE / "open_tabs.py", "--out", self.notes, "--url", self.balancer.url()],
            self.directory / "open-tabs.log", {"PATH": os.environ["PATH"], "HOME": str(self.directory)})
        wait_until("pages are open (log: %s)" % (self.directory / "open-tabs.log"),
                   lambda: "\"ready\"" in self.open_tabs_said(), alive=process)

    def open_tabs_said(self):
        path = self.notes / "open-tabs-0.ndjson"
        return path.read_text() if path.exists() else ""

    def stop_open_tabs(self):
        self.processes.send("open tabs", signal.SIGTERM)
        code = self.processes.wait("open tabs", patience=60.0)
        if code != 0:
            raise RuntimeError("the open tabs ended with %s:\n%s" % (
                code, (self.directory / "open-tabs.log").read_text()[-2000:]))

    def start_clients(self, stragglers=True):
        """Readers, writers, tabs, and those who try to write around the gates.

        `stragglers`: some of these also keep transactions open for a second and more, so that every drain has to end some.
        """
        self.start_client("reader", rate=6)
        self.start_client("writer", rate=8)
        self.start_client("tabs", rate=4, threads=1)
        # A thread for each technique, so that a short window is tried by all of them.
        self.start_client(
            "sneaky", rate=8, threads=9, without=[] if stragglers else ["open_transaction", "late_writer"])

    def stop_clients(self):
        """Lets each finish what it is doing, and says whether each ended as it should."""
        names = [name for name in self.processes.names() if name.startswith("client ")]
        for name in names:
            self.processes.send(name, signal.SIGTERM)
        for name in names:
            code = self.processes.wait(name, patience=60.0)
            if code != 0:
                log = (self.directory / ("%s.log" % name.split()[1])).read_text()
                raise RuntimeError("%s ended with %s:\n%s" % (name, code, log[-2000:]))


def interrupt_on_signals():
    """SIGTERM and SIGHUP end a fleet in order, as Ctrl-C does.

    Whoever started us may have blocked signals; our children would inherit that, and a client could not be told to end.
    """
    def interrupt(*_):
        raise KeyboardInterrupt
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
