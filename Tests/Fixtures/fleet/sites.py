# SPDX-License-Identifier: Apache-2.0
"""Sites as people have them on the fleet, instead of the guestbook: what docs/django.md and docs/alembic.md say, three times."""

import dataclasses
import hashlib
import os
import pathlib
import shutil
import subprocess
import tempfile

import site_clients
from node import FIXTURES, REPOSITORY, Node
from sluice import SluiceFleet

HERE = pathlib.Path(__file__).resolve().parent
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "PYTHONDONTWRITEBYTECODE": "1"}


@dataclasses.dataclass
class Site:
    """What differs between the applications. Each has a `make-bundle` and a plan in `plans`."""

    name: str
    # For gunicorn.
    application: str
    # In the bundle; nothing without hashed static files.
    assets: str | None
    # Of books.
    table: str
    # A worker and a cron job (`bin`), and the admin.
    has_jobs: bool
    # What the site's own tool believes: the query, and what is there before and after.
    ledger: str
    before: list
    after: list

    @property
    def fixture(self):
        return FIXTURES / self.name

    @property
    def plan(self):
        return REPOSITORY / "plans" / ("%s.yaml" % self.name)


DJANGO = Site(
    name="django", application="bookshelf.wsgi:application", assets="staticfiles", table="shelf_book", has_jobs=True,
    ledger="SELECT name FROM django_migrations WHERE app = 'shelf' ORDER BY id", before=["0001_initial"],
    after=["0001_initial", "0002_slug_and_loans", "0003_fill_slugs"])
ALEMBIC = Site(
    name="alembic", application="wsgi:application", assets=None, table="book", has_jobs=False,
    ledger="SELECT version_num FROM alembic_version", before=["0021"], after=["0023"])
SITES = {site.name: site for site in [DJANGO, ALEMBIC]}


def make_bundles(site):
    """Both releases below one temporary directory."""
    directory = pathlib.Path(tempfile.mkdtemp(prefix="sluice-site."))
    directory.chmod(0o755)
    environment = virtual_environment(site)
    for release in ["v1", "v2"]:
        subprocess.run([site.fixture / "make-bundle", release, directory / release, environment], check=True)
    return directory


def virtual_environment(site):
    """What the site needs from PyPI, installed once and kept below the user's cache, or, for root, below /var/cache."""
    cache = pathlib.Path("/var/cache/sluice") if os.geteuid() == 0 else pathlib.Path(
        os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "sluice"
    made_of = (site.fixture / "make-bundle").read_bytes() + (site.fixture / "common" / "requirements.txt").read_bytes()
    target = cache / ("%s-%s" % (site.name, hashlib.sha256(made_of).hexdigest()[:12]))
    if not target.exists():
        cache.mkdir(parents=True, exist_ok=True)
        unfinished = pathlib.Path(tempfile.mkdtemp(prefix="installing-", dir=cache))
        try:
            subprocess.run([site.fixture / "make-bundle", "venv", unfinished / "venv"], check=True)
            os.rename(unfinished / "venv", target)
        except OSError:
            # Another may have been faster.
            if not target.exists():
                raise
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    return target


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
        self.jobs.mkdir()
        media = self.root.parent / "media"
        media.mkdir(exist_ok=True)
        (shared / "media").symlink_to(media)
        environment = shared / ".env"
        environment.write_text(
            "DATABASE_URL=%s\nSECRET_KEY=a secret for the test\nALLOWED_HOSTS=bookshelf.example %s\nSLUICE_MODE_FILE=%s\n%s" % (
                database_url, self.fleet.balancer.address, self.run / "sluice" / "mode.json", self.fleet.more_environment))
        environment.chmod(0o600)

    def command(self, action):
        if action in ("start-app", "stop-app"):
            script = str(REPOSITORY / "agents" / "start" / "gunicorn")
            return [script, "start", self.fleet.site.application] if action == "start-app" else [script, "stop"]
        return [str(self.fleet.site.fixture / "bin" / action), str(self.jobs), *([] if action == "pause-worker" else [str(self.app)])]

    def run_job(self, name):
        subprocess.run(self.command(name), check=True, stdout=subprocess.DEVNULL)

    def locations(self):
        return f"""
        # What has a digest in its name is of all releases, the rest of the one that is current.
        location /static/ {{
            auth_request off;
            root {self.app};
            rewrite ^/static/(.*)$ /$1 break;
            try_files /current/files/staticfiles$uri /assets$uri =404;
            add_header X-Node {self.name} always;
        }}
        location /media/ {{
            auth_request off;
            alias {self.app}/shared/media/;
            add_header X-Node {self.name} always;
        }}
        location / {{
            proxy_pass http://unix:{self.app}/current/app.sock;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $http_host;
            proxy_set_header X-Sluice-Mode $sluice_mode;
            proxy_next_upstream off;
            add_header X-Node {self.name} always;
        }}
"""


class SiteFleet(SluiceFleet):
    """Three nodes on v1 of a site; PostgreSQL with a role that owns the site's tables and logs in as itself."""

    node_type = SiteNode

    def __init__(self, binaries, site, bundles, tool=False, entries=500, **options):
        """`tool`: the site's own tool migrates, and not SQL files."""
        super().__init__(binaries, entries=entries, **options)
        self.site, self.bundles, self.tool = site, bundles, tool
        # Lines of `.env` besides the usual. Sessions are left alone by the application, or else their reads are held.
        self.more_environment = "SESSION_ENGINE=django.contrib.sessions.backends.db\n" if self.holds_sessions else ""
        for node in self.nodes:
            node.fleet = self

    @property
    def holds_sessions(self):
        return self.tool and self.site is DJANGO

    def bundle(self, release):
        return self.bundles / release

    def example(self):
        fixture = "../Tests/Fixtures/%s" % self.site.name
        text = self.site.plan.read_text().replace(fixture + "/bundle/v2", str(self.bundle("v2")))
        if self.tool:
            text = text.replace("  migrations: %s/migrations\n" % fixture, MIGRATE_WITH % self.site.name)
        if self.holds_sessions:
            text = text.replace("  while_migrating: hold\n", "  while_migrating: hold\n" + SESSIONS)
        return text.replace(fixture, str(self.site.fixture))

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

    def prepare_database(self):
        """v1 as it was installed once: by its own tool, as its own role."""
        url = self.postgres.add_site("bookshelf")
        if self.site is DJANGO:
            self.python(url, "manage.py", "migrate", "--noinput")
            self.python(url, "manage.py", "shell", "-c", (
                "from django.contrib.auth.models import User; User.objects.create_superuser(%r, password=%r)" % (
                    site_clients.READER, site_clients.PASSWORD)))
        else:
            self.python(url, "-m", "alembic", "upgrade", "head")
        more = ", added" if self.site is DJANGO else ""
        self.postgres.query(
            "INSERT INTO %s (request_id, title, author, cover%s) SELECT gen_random_uuid(), 'Book ' || n, 'Author ' || n %% 7, ''%s"
            " FROM generate_series(1, %d) n" % (self.site.table, more, ", now()" if more else "", self.entries))
        return url

    def python(self, url, *arguments):
        result = subprocess.run(
            ["venv/bin/python", *arguments], cwd=self.bundle("v1"),
            env={**ENVIRONMENT, "DATABASE_URL": url}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if result.returncode != 0:
            raise RuntimeError("%s failed:\n%s" % (" ".join(arguments[:3]), result.stdout))

    def first_release(self):
        adopting = [
            (node, subprocess.Popen(
                [self.binaries / "sluice-agent", "adopt", "--config", node.root / "etc" / "agent.yaml", "--release", "v1",
                 "--bundle", self.bundle("v1"), *(["--assets", self.site.assets] if self.site.assets else []),
                 "--action", "start-app"],
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True))
            for node in self.nodes]
        for node, process in adopting:
            output = process.communicate(timeout=120)[0]
            if process.returncode != 0:
                raise RuntimeError("%s: adopt failed:\n%s" % (node.name, output))

    def start(self):
        super().start()
        if self.site.has_jobs:
            for node in self.nodes:
                node.run_job("resume-worker")

    def stop(self):
        if not self.keep and self.site.has_jobs:
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
             *(["--admin"] if self.site.has_jobs else []), *more],
            self.directory / ("%s.log" % kind), {"PATH": os.environ["PATH"]})

    def start_clients(self, stragglers=False):
        self.start_site_client("reader", rate=5)
        self.start_site_client("anonymous", rate=5)
        self.start_site_client("writer", rate=4)
        if self.site.has_jobs:
            job = self.nodes[0].command("cron-job")
            self.start_site_client("cron", rate=1, threads=1, more=["--job", *job])

    def agent_configuration(self, node):
        actions = self.actions(node, ["start-app", "stop-app"] + (
            ["pause-worker", "resume-worker"] if self.site.has_jobs else []))
        if self.tool:
            # Not repeatable: an agent that died while one ran asks the probe, or says that nobody knows.
            script = REPOSITORY / "agents" / "migrate" / self.site.name
            actions += f"""  migrate:
    command: ["{script}", forward, "{{release_dir}}"]
    timeout: 120s
    probe: ["{script}", done, "{{release_dir}}"]
  migrate-back:
    command: ["{script}", back, "{{release_dir}}"]
    timeout: 120s
"""
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
  shared: [.env, media]
gate: {{}}
actions:
{actions}health:
  page:
    socket: "{{socket}}"
    path: /healthz
    host: bookshelf.example
"""
