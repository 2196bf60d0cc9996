# SPDX-License-Identifier: Apache-2.0
"""Sites as people have them on the fleet, instead of the guestbook: what docs/django.md, alembic.md and rails.md say, three times."""

import os
import pathlib
import shutil
import signal
import subprocess

import site_checker
from node import REPOSITORY, Node
from processes import wait_until
from site_applications import DJANGO
from site_clients import Visitor
from sluice import SluiceFleet

HERE = pathlib.Path(__file__).resolve().parent
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "PYTHONDONTWRITEBYTECODE": "1", "RAILS_ENV": "production",
               "RAILS_LOG_TO_STDOUT": "1"}

# Instead of `migrations` in the plan.
MIGRATE_WITH = """  migrate_with:
    run: migrate
    ledger: %s
    revert_with: migrate-back
    on_partly: again
    timeout: 1m
"""
# In `reads`.
SESSIONS = """  sessions: {cookie: sessionid, while_fenced: hold, hold_for: 30s}
"""
# Behind the fence somebody who is logged in looks at a page, by an action of the run, so that it is certain when.
LOOK = "\nhooks:\n  - {after: drain, run: look, where: one-node}\n"


class SiteNode(Node):
    """A node whose first release is put there by `sluice-agent adopt`.

    app/shared/{.env,media}     what all releases have in common; media is one file system on all nodes
    jobs/                       the worker's and the cron job's files
    """

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.jobs = self.root / "jobs"

    def write_environment(self, database_url):
        shared = self.app / "shared"
        shared.mkdir()
        (shared / "log").mkdir()
        self.jobs.mkdir()
        media = self.root.parent / "media"
        media.mkdir(exist_ok=True)
        (shared / "media").symlink_to(media)
        environment = shared / ".env"
        environment.write_text(
            "DATABASE_URL=%s\nSECRET_KEY=a secret for the test\nALLOWED_HOSTS=bookshelf.example %s\nSLUICE_MODE_FILE=%s\n%s" % (
                database_url, self.fleet.balancer.address, self.run / "sluice" / "mode.json",
                self.fleet.more_environment))
        environment.chmod(0o600)

    def command(self, action):
        if action in ("start-app", "stop-app"):
            script, *arguments = self.fleet.site.server
            script = str(REPOSITORY / "agents" / "start" / script)
            timed = str(HERE / "timed-start")
            return [timed, script, "start", *arguments] if action == "start-app" else [script, "stop"]
        if action in ("pause-worker", "resume-worker") and self.name not in self.fleet.site.workers:
            return ["/bin/true"]
        return [str(self.fleet.site.fixture / "bin" / action), str(self.jobs), *([] if action == "pause-worker" else [str(self.app)])]

    def run_job(self, name):
        subprocess.run(self.command(name), check=True, stdout=subprocess.DEVNULL)

    def static_files(self):
        if self.fleet.site.assets == "public/assets":
            # Every name has a digest.
            return f"""
        location /assets/ {{
            auth_request off;
            root {self.app};
            add_header X-Node {self.name} always;
        }}"""
        return f"""
        # What has a digest in its name is of all releases, the rest of the one that is current.
        location /static/ {{
            auth_request off;
            root {self.app};
            rewrite ^/static/(.*)$ /$1 break;
            try_files /current/files/staticfiles$uri /assets$uri =404;
            add_header X-Node {self.name} always;
        }}"""

    def write_nginx_configuration(self):
        super().write_nginx_configuration()
        routes = self.root / "etc" / "nginx" / "sluice-routes.conf"
        for line in self.fleet.site.routes:
            routes.write_text(routes.read_text().rstrip().removesuffix("}") + "    %s\n}\n" % line)

    def locations(self):
        return f"""{self.static_files()}
        location /media/ {{
            auth_request off;
            alias {self.app}/shared/media/;
            add_header X-Node {self.name} always;
        }}
        location / {{
            root {self.app}/current;
            proxy_pass http://unix:{self.app}/current/app.sock;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $http_host;
            proxy_set_header X-Sluice-Mode $sluice_mode;
            proxy_next_upstream off;
            {"include %s/etc/nginx/sluice-page.conf;" % self.root if self.has_script else ""}
            add_header X-Node {self.name} always;
        }}
"""


class SiteFleet(SluiceFleet):
    """Three nodes on v1 of a site; PostgreSQL with a role that owns the site's tables and logs in as itself."""

    node_type = SiteNode

    def __init__(self, binaries, site, bundles, tool=False, entries=500, **options):
        """`tool`: the site's own tool migrates, and not SQL files."""
        super().__init__(binaries, entries=entries, **options)
        self.site, self.bundles, self.tool = site, bundles, tool or not site.has_files
        # Lines of `.env` besides the usual. Sessions are left alone by the application, or else their reads are held.
        self.more_environment = site.environment + (
            "SESSION_ENGINE=django.contrib.sessions.backends.db\n" if self.holds_sessions else "")
        # A release that starts after the migration starts in the window.
        self.held_for = 100 if site.name == "alembic" else 40
        self.balancer.reads_tried_for = "%ds" % (self.held_for - 1)
        # What the action `look` asks for a page with, and what it got; whether plans have it.
        self.cookie, self.seen, self.looks = self.directory / "cookie", self.directory / "seen", False
        for node in self.nodes:
            node.fleet = self

    @property
    def holds_sessions(self):
        return self.tool and self.site is DJANGO

    def bundle(self, release):
        return self.bundles / release

    def outputs_of_tool(self):
        """The files of the nodes' actions in which the tool has said that it applies v2's first migration."""
        return [path for node in self.nodes for path in (node.root / "state" / "actions").glob("*.log")
                if self.site.tool_says and self.site.tool_says in path.read_text(errors="replace")]

    def example(self):
        fixture = "../Tests/Fixtures/%s" % self.site.kind
        text = self.site.plan.read_text().replace(fixture + "/bundle/v2", str(self.bundle("v2")))
        if self.tool:
            # What is proved is that nobody is refused meanwhile, however slow this machine is.
            text = text.replace("hold_for: 30s", "hold_for: %ds" % self.held_for)
        if self.tool:
            text = text.replace("  migrations: %s/migrations\n" % fixture, MIGRATE_WITH % self.site.kind)
        if self.holds_sessions:
            text = text.replace("  while_migrating: hold\n", "  while_migrating: hold\n" + SESSIONS)
        if self.site.has_editors:
            # Its worker takes half a minute to start and to end on a busy machine.
            text += "\ndeadlines: {read-only: 2m}\n"
        return text.replace(fixture, str(self.site.fixture))

    def look_behind_the_fence(self):
        """Has each plan from now on look at a page, as somebody who is logged in."""
        visitor = Visitor(self.balancer.url(), self.site.table)
        visitor.log_in()
        self.cookie.write_text("Cookie: %s\n" % visitor.cookie())
        self.looks = True

    def seen_page(self):
        """What the last look has got, with its header, where there was to be one."""
        if not self.looks:
            return None
        return self.seen.read_text() if self.seen.exists() else "nothing"

    def variant(self, name, replace=(), append=""):
        return super().variant(name, replace, LOOK + append.removeprefix("\nhooks:\n") if self.looks else append)

    def changed_bundle(self, name, changes):
        """A copy of v2 in which these files have other contents; and the example's line of it, for `variant`."""
        copy = self.plans / name
        shutil.copytree(self.bundle("v2"), copy, symlinks=True)
        for path, text in changes.items():
            (copy / path).write_text(text)
            # Bytecode that is not looked at twice would hide the change.
            for compiled in (copy / path).parent.glob("__pycache__/%s.*" % (copy / path).stem):
                compiled.unlink()
        return (str(self.bundle("v2")), str(copy))

    def next_plan(self):
        """From v2 on to v3, which is v2 by another name."""
        page = "shelf/templates/shelf/base.html"
        bundle = self.changed_bundle("v3", {
            "RELEASE": "v3\n", page: (self.bundle("v2") / page).read_text().replace('content="v2"', 'content="v3"')})
        return self.variant("next", replace=[("name: v2\n", "name: v3\n"), ("expected: v1\n", "expected: v2\n"), bundle])

    def prepare_database(self):
        """v1 as it was installed once: by its own tool, as its own role."""
        url = self.postgres.add_site("bookshelf")
        for command in self.site.install:
            self.run_in_release(url, command)
        columns = {"request_id": "gen_random_uuid()", "title": "'Book ' || n", "author": "'Author ' || n % 7", "cover": "''",
                   **self.site.more_columns}
        self.postgres.query("INSERT INTO %s (%s) SELECT %s FROM generate_series(1, %d) n" % (
            self.site.table, ", ".join(columns), ", ".join(columns.values()), self.entries))
        return url

    def run_in_release(self, url, command):
        """Runs a command of v1 where a person would, before there is a node."""
        lines = [line.partition("=") for line in self.site.environment.splitlines()]
        result = subprocess.run(
            command, cwd=self.bundle("v1"), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env={**ENVIRONMENT, **{name: value for name, _, value in lines}, "DATABASE_URL": url})
        if result.returncode != 0:
            raise RuntimeError("%s failed:\n%s" % (" ".join(command[:3]), result.stdout))

    def first_release(self):
        self.adopt("v1")

    def adopt(self, release, patience=120):
        adopting = [
            (node, subprocess.Popen(
                [self.binaries / "sluice-agent", "adopt", "--config", node.root / "etc" / "agent.yaml", "--release", release,
                 "--bundle", self.bundle(release), *(["--assets", self.site.assets] if self.site.assets else []),
                 "--action", "start-app"],
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True))
            for node in self.nodes]
        for node, process in adopting:
            output = process.communicate(timeout=patience)[0]
            if process.returncode != 0:
                raise RuntimeError("%s: adopt failed:\n%s" % (node.name, output))

    def start(self):
        super().start()
        if self.site.queue:
            for node in self.nodes:
                node.run_job("resume-worker")

    def stop(self):
        if not self.keep and self.site.queue:
            for node in self.nodes:
                try:
                    node.run_job("pause-worker")
                except (OSError, subprocess.SubprocessError):
                    pass
        super().stop()

    # Clients

    def start_site_client(self, kind, rate, threads=2, more=()):
        self.processes.start(
            "client %s" % kind,
            ["/usr/bin/python3", "-s", "-E", HERE / "site_clients.py", kind, "--out", self.notes, "--rate", rate,
             "--threads", threads, "--url", self.balancer.url(), "--table", self.site.table,
             "--timeout", self.held_for + 30, *(["--admin"] if self.site.has_admin else []), *more],
            self.directory / ("%s.log" % kind), {"PATH": os.environ["PATH"]})

    def start_clients(self, stragglers=False):
        self.start_site_client("reader", rate=5)
        self.start_site_client("anonymous", rate=5)
        self.start_site_client("writer", rate=4)
        if self.site.has_editors:
            self.start_site_client("editor", rate=3, threads=1)
        if self.site.has_cron:
            job = self.nodes[0].command("cron-job")
            # Wagtail takes seconds of the processor before it does anything.
            self.start_site_client("cron", rate=0.2 if self.site.has_editors else 1, threads=1, more=["--job", *job])

    def start_tabs(self):
        """A browser with pages open that carry the browser script."""
        notes = self.notes / "site-tabs-0.ndjson"
        process = self.processes.start(
            "site tabs", ["/usr/bin/python3", "-s", "-E", HERE / "site_tabs.py", "--out", self.notes, "--url", self.balancer.url()],
            self.directory / "site-tabs.log", {"PATH": os.environ["PATH"], "HOME": str(self.directory)})
        wait_until("pages are open (log: %s)" % (self.directory / "site-tabs.log"),
                   lambda: notes.exists() and '"ready"' in notes.read_text(), alive=process)

    def wait_for_tab(self, release):
        wait_until("the open page is renewed to %s" % release, lambda: site_checker.tab_shows(self.notes, "reading")[-1:] == [release])

    def stop_tabs(self):
        """The forms are sent."""
        self.processes.send("site tabs", signal.SIGTERM)
        code = self.processes.wait("site tabs", patience=60.0)
        if code != 0:
            raise RuntimeError("the open tabs ended with %s:\n%s" % (code, (self.directory / "site-tabs.log").read_text()[-2000:]))

    def agent_configuration(self, node):
        actions = self.actions(node, ["start-app", "stop-app"] + (
            ["pause-worker", "resume-worker"] if self.site.queue else []))
        actions += self.pooler.action() if self.pooler else ""
        if self.tool:
            # Not repeatable: an agent that died while one ran asks the probe, or says that nobody knows. Never through a pooler.
            script = '"/usr/bin/env", "DATABASE_URL=%s", "%s"' % (self.direct, REPOSITORY / "agents" / "migrate" / self.site.kind)
            actions += f"""  migrate:
    command: [{script}, forward, "{{release_dir}}"]
    timeout: 120s
    probe: [{script}, done, "{{release_dir}}"]
  migrate-back:
    command: [{script}, back, "{{release_dir}}"]
    timeout: 120s
"""
        # A name that the site answers to, whichever node it is.
        actions += f"""  look:
    command: [/usr/bin/curl, --silent, --show-error, --include, --max-time, "20", --header, "@{self.cookie}", --header,
      "Host: bookshelf.example", --output, "{self.seen}", "{node.url()}"]
    timeout: 30s
"""
        return f"""{self.agent_places(node)}  shared: [{", ".join(self.site.shared)}]
gate: {{}}
actions:
{actions}health:
  page:
    socket: "{{socket}}"
    path: /healthz
    host: bookshelf.example
"""
