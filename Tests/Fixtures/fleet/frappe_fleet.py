# SPDX-License-Identifier: Apache-2.0
"""Frappe on the fleet: benches of the stand-in or real ones, with plans/frappe.yaml and agents/frappe as they are but for their paths."""

import json
import os
import pathlib
import re
import shutil
import subprocess

from balancer import Balancer
from node import FIXTURES, REPOSITORY, Node
from ports import BALANCER
from postgres import MIGRATOR
from processes import wait_until
from sluice import SluiceFleet

HERE = pathlib.Path(__file__).resolve().parent
AGENT = REPOSITORY / "agents" / "frappe"
SITE, DATABASE = "erp.example", "erp"
# A second one of the same bench, of those who ask for it.
SECOND_SITE, SECOND_DATABASE = "shop.example", "shop"
UNITS = ["frappe-worker.service", "frappe-schedule.service"]
PYTHON = "/usr/bin/python3"
# The same for the second site.
SECOND = """  shop.example:
    url: env:SLUICE_SHOP_URL
    migrate_with: {run: migrate-site, ledger: frappe, on_partly: again, timeout: 30m}
"""
# Seconds for each patch of the stand-in: long enough that somebody writes meanwhile.
PACE = 0.2


class FrappeBalancer(Balancer):
    def site(self):
        return super().site().replace(
            '"~^POST /preview\\z" ', '"~^POST /api/method/frappe\\.(desk\\.reportview\\.get|client\\.get|desk\\.search\\.)" ')


class FrappeNode(Node):
    """A node whose sites' directory is its own: each has to switch by itself.

    app/shared/sites/{common_site_config.json,erp.example}   the configuration, with the switches
    units/                                                   the units of worker and scheduler, and what runs of them
    """

    def write_environment(self, database_url):
        shutil.copytree(self.fleet.sites, self.sites, ignore=shutil.ignore_patterns("assets", "apps.txt"))
        self.units.mkdir()
        for name in UNITS:
            (self.units / name).write_text(self.fleet.here(self, (AGENT / name).read_text()))
        lines = {"frappe.token": "token %s:%s\n" % self.fleet.key,
                 "frappe-tokens": "".join("%s %s:%s\n" % (site, *key) for site, key in self.fleet.keys.items())}
        for name, text in lines.items():
            token = self.root / "etc" / name
            token.write_text(text)
            token.chmod(0o600)

    @property
    def sites(self):
        return self.app / "shared" / "sites"

    @property
    def units(self):
        return self.root / "units"

    def site_configs(self):
        return {path.parent.name: json.loads(path.read_text()) for path in self.sites.glob("*/site_config.json")}

    def write_nginx_configuration(self):
        super().write_nginx_configuration()
        routes = (AGENT / "sluice-routes.conf").read_text()
        (self.root / "etc" / "nginx" / "sluice-routes.conf").write_text(routes)

    def locations(self):
        text = self.fleet.here(self, (AGENT / "site.conf").read_text())
        text = text[text.index("    location /assets/"):text.rindex("}")]
        return re.sub(r"(location \S+ \{)", r"\1\n        add_header X-Node %s always;" % self.name, text)

    def command(self, action):
        return [str(AGENT / "start"), "stop"]

    def jobs_of(self):
        """The releases whose worker and scheduler run here, one for each."""
        found = []
        for mark in sorted(self.units.glob("*.pid")):
            try:
                variables = pathlib.Path("/proc", mark.read_text(), "environ").read_bytes().decode().split("\0")
            except OSError:
                continue
            found += [line.partition("=")[2] for line in variables if line.startswith("SLUICE_RELEASE=")]
        return found


class FrappeFleet(SluiceFleet):
    node_type = FrappeNode
    main_database = SITE

    def __init__(self, binaries, bundles, has_two_sites=False, **options):
        """`bundles`: the old release's version and directory, the new one's."""
        super().__init__(binaries, **options)
        self.databases = {SITE: DATABASE, **({SECOND_SITE: SECOND_DATABASE} if has_two_sites else {})}
        (self.old, self._old_bundle), (self.new, self._new_bundle) = bundles
        self.balancer = FrappeBalancer(BALANCER, self.nodes[0].port, self.directory / "balancer", self.nodes, self.processes)
        self.sites = self.directory / "sites"
        self.caches = self.directory / "caches.json"
        self.redis_url = "redis://127.0.0.1:%d" % self._ports.take()
        self.queue_url = "redis://127.0.0.1:%d" % self._ports.take()
        self.key = None
        self.is_standin = False
        for node in self.nodes:
            node.fleet = self

    def bundle(self, release):
        return self._new_bundle if release == self.new else self._old_bundle

    # The site, as somebody installed it once

    def prepare_database(self):
        for name, url in (("cache", self.redis_url), ("queue", self.queue_url)):
            self.start_redis(name, int(url.rpartition(":")[2]))
        # What `new-site` does not grant, and 14 and 15.8 need.
        self.postgres.query("GRANT CREATE ON SCHEMA public TO PUBLIC", database="template1")
        self.sites.mkdir()
        shutil.copy2(self._old_bundle / "sites" / "apps.txt", self.sites)
        (self.sites / "assets").symlink_to(self._old_bundle / "sites" / "assets")
        self.write_common()
        for site, database in self.databases.items():
            self.postgres.passwords[database] = "a-password-for-the-test"
            self.bench("new-site", site, "--db-type", "postgres", "--db-name", database, "--db-password", self.postgres.passwords[database],
                       "--db-host", "127.0.0.1", "--db-port", self.postgres.port, "--db-root-username", "postgres",
                       "--db-root-password", self.postgres.passwords["postgres"], "--admin-password", "admin")
        self.postgres.database = DATABASE
        # A table that a real one does not have.
        self.is_standin = self.postgres.query("SELECT to_regclass('\"tabJob\"') IS NOT NULL")[0][0]
        for app in (self.sites / "apps.txt").read_text().split():
            if app != "frappe":
                for site in self.databases:
                    self.bench("--site", site, "install-app", app)
        self.keys = {site: self.make_key(site) for site in self.databases}
        self.key = self.keys[SITE]
        return self.postgres.url(DATABASE)

    def make_key(self, site):
        # `execute` prints JSON, last.
        secret = self.bench("--site", site, "execute", "frappe.core.doctype.user.user.generate_keys", "--args", '["Administrator"]')
        key = self.bench("--site", site, "execute", "frappe.db.get_value", "--args", '["User", "Administrator", "api_key"]')
        return key.split()[-1].strip('"'), re.findall(r'"api_secret": "([^"]+)"', secret)[-1]

    def write_common(self):
        (self.sites / "common_site_config.json").write_text(json.dumps(
            {"db_type": "postgres", "redis_cache": self.redis_url + "/0", "redis_queue": self.queue_url + "/0", "standin_pace": PACE}, indent=1))

    def start_redis(self, name, port):
        process = self.processes.start(
            "redis %s" % name, ["redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", self.directory],
            self.directory / ("redis-%s.log" % name))
        wait_until("Redis answers (log: %s)" % (self.directory / ("redis-%s.log" % name)), lambda: self.ask_redis(port, "PING") == "PONG",
                   alive=process)

    def ask_redis(self, port, *words):
        return subprocess.run(["redis-cli", "-p", str(port), *words], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout.strip()

    def bench(self, *words):
        """As the old release's bench does it, in the directory of sites."""
        bundle = self._old_bundle
        path = [str(bundle / "site-packages")] if (bundle / "site-packages").is_dir() else []
        path += sorted(str(each) for each in (bundle / "apps").iterdir() if each.is_dir())
        result = subprocess.run(
            [PYTHON, "-B", "-m", "frappe.utils.bench_helper", "frappe", *map(str, words)], cwd=self.sites, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(path)})
        if result.returncode != 0:
            raise RuntimeError("bench %s failed:\n%s" % (" ".join(map(str, words[:3])), result.stdout[-3000:]))
        return result.stdout

    def coordinator_environment(self):
        return {**super().coordinator_environment(), "SLUICE_SHOP_URL": self.postgres.url(MIGRATOR, SECOND_DATABASE)}

    # Nodes

    def here(self, node, text):
        """A shipped file with this node's paths."""
        for old, new in (
                ("/opt/sluice/frappe", AGENT), ("/var/lib/frappe/caches.json", self.caches), ("redis://127.0.0.1:13000", self.redis_url),
                ("/run/frappe", node.run / "app"), ("/srv/frappe", node.app), ("/etc/sluice", node.root / "etc")):
            text = text.replace(old, str(new))
        return text

    def agent_configuration(self, node):
        text = self.here(node, (AGENT / "agent.yaml").read_text())
        control = self.directory / "systemctl"
        shared = ", ".join("sites/" + site for site in self.databases)
        for old, new in (
                ("node: web-1", "node: %s" % node.name), ("sites/erp.example]", "%s]" % shared), ("https://sluice.internal:9740", self.coordinator_url), ("node.token", "token"),
                ("  app: %s" % node.app, "  app: %s\n  state: %s/state\n  runtime: %s/sluice" % (node.app, node.root, node.run)),
                ("  group: www-data\n", ""), ("pause, --sites", "pause, --control, %s-%s, --sites" % (control, node.name)),
                ("resume, --unit", "resume, --control, %s-%s, --unit" % (control, node.name))):
            if old not in text:
                raise ValueError("agents/frappe/agent.yaml has no %r" % old)
            text = text.replace(old, new)
        script = pathlib.Path("%s-%s" % (control, node.name))
        script.write_text('#!/bin/sh\nexec %s %s "$@"\n' % (FIXTURES / "frappe" / "bin" / "units", node.units))
        script.chmod(0o755)
        if len(self.databases) > 1:
            text = text[:text.index("health:\n")] + "health:\n  page: {action: sites-answer}\n\n" + text[text.index("caches:\n"):]
        # Nobody is called frappe here. And an action of the tests: it fails where its file is.
        text = text.replace("    user: frappe\n", "")
        return text.replace("actions:\n", 'actions:\n  smoke-test: {command: [/usr/bin/test, "!", -e, %s], repeatable: true}\n' % (
            node.faults / "smoke-test"), 1)

    def first_release(self):
        adopting = [(node, subprocess.Popen(
            [self.binaries / "sluice-agent", "adopt", "--config", node.root / "etc" / "agent.yaml", "--release", self.old,
             "--bundle", self._old_bundle, "--assets", "sites/assets", "--action", "start-app"],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)) for node in self.nodes]
        for node, process in adopting:
            output = process.communicate(timeout=600)[0]
            if process.returncode != 0:
                raise RuntimeError("%s: adopt failed:\n%s" % (node.name, output))

    def start(self):
        super().start()
        for node in self.nodes:
            self.units(node, "start")

    def stop(self):
        if not self.keep:
            for node in self.nodes:
                try:
                    self.units(node, "stop")
                except (OSError, subprocess.SubprocessError):
                    pass
        super().stop()

    def units(self, node, verb):
        subprocess.run([FIXTURES / "frappe" / "bin" / "units", node.units, verb, *UNITS], check=True)

    # Clients and plans

    def start_clients(self):
        for kind, rate in (("reader", 6), ("writer", 6), *([("guest", 5)] if self.is_standin else [])):
            self.processes.start(
                "client %s" % kind,
                [PYTHON, "-s", "-E", HERE / "frappe_clients.py", kind, "--out", self.notes, "--rate", rate, "--url", self.balancer.url(),
                 "--token", "%s:%s" % self.key], self.directory / ("%s.log" % kind), {"PATH": os.environ["PATH"]})

    def example(self):
        text = (REPOSITORY / "plans" / "frappe.yaml").read_text()
        for old, new in (('name: "15.8.1"', 'name: "%s"' % self.new), ('expected: "14.51.0"', 'expected: "%s"' % self.old),
                         ("../bundles/frappe/15.8.1", str(self._new_bundle))):
            if old not in text:
                raise ValueError("plans/frappe.yaml has no %r" % old)
            text = text.replace(old, new)
        return text if len(self.databases) == 1 else text.replace("\n# A major version", SECOND + "\n# A major version", 1)
