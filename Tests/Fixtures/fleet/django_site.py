# SPDX-License-Identifier: Apache-2.0
"""The Django site of `Tests/Fixtures/django` on the fleet, instead of the guestbook: what docs/django.md says, three times."""

import hashlib
import os
import pathlib
import shutil
import subprocess
import tempfile

import django_clients
from node import FIXTURES, REPOSITORY, Node
from sluice import SluiceFleet

DJANGO = FIXTURES / "django"
PLAN = REPOSITORY / "plans" / "django.yaml"
HERE = pathlib.Path(__file__).resolve().parent
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "PYTHONDONTWRITEBYTECODE": "1"}


def make_bundles():
    """Both releases below one temporary directory."""
    directory = pathlib.Path(tempfile.mkdtemp(prefix="sluice-django."))
    directory.chmod(0o755)
    environment = virtual_environment()
    for release in ["v1", "v2"]:
        subprocess.run([DJANGO / "make-bundle", release, directory / release, environment], check=True)
    return directory


def virtual_environment():
    """Django and gunicorn from PyPI, installed once and kept below the user's cache, or, for root, below /var/cache."""
    cache = pathlib.Path("/var/cache/sluice") if os.geteuid() == 0 else pathlib.Path(
        os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "sluice"
    made_of = (DJANGO / "make-bundle").read_bytes() + (DJANGO / "common" / "requirements.txt").read_bytes()
    target = cache / ("django-%s" % hashlib.sha256(made_of).hexdigest()[:12])
    if not target.exists():
        cache.mkdir(parents=True, exist_ok=True)
        unfinished = pathlib.Path(tempfile.mkdtemp(prefix="installing-", dir=cache))
        try:
            subprocess.run([DJANGO / "make-bundle", "venv", unfinished / "venv"], check=True)
            os.rename(unfinished / "venv", target)
        except OSError:
            # Another may have been faster.
            if not target.exists():
                raise
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    return target


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
            "DATABASE_URL=%s\nSECRET_KEY=a secret for the test\nALLOWED_HOSTS=bookshelf.example %s\nSLUICE_MODE_FILE=%s\n" % (
                database_url, self.balancer, self.run / "sluice" / "mode.json"))
        environment.chmod(0o600)

    def command(self, action):
        if action in ("start-app", "stop-app"):
            script = str(REPOSITORY / "agents" / "start" / "gunicorn")
            return [script, "start", "bookshelf.wsgi:application"] if action == "start-app" else [script, "stop"]
        return [str(DJANGO / "bin" / action), str(self.jobs), *([] if action == "pause-worker" else [str(self.app)])]

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
    """Three nodes on v1 of the site, each with a worker; PostgreSQL with a role that owns the site's tables and logs in as itself."""

    node_type = SiteNode

    def __init__(self, binaries, bundles, entries=500, **options):
        super().__init__(binaries, entries=entries, **options)
        self.bundles = bundles
        for node in self.nodes:
            node.balancer = self.balancer.address

    def bundle(self, release):
        return self.bundles / release

    def example(self):
        text = PLAN.read_text().replace("../Tests/Fixtures/django/bundle/v2", str(self.bundle("v2")))
        return text.replace("../Tests/Fixtures/django", str(DJANGO))

    def prepare_database(self):
        url = self.postgres.add_site("bookshelf")
        # v1 as it was installed once: by its own tool, as its own role.
        self.manage("v1", url, "migrate", "--noinput")
        self.manage("v1", url, "shell", "-c", (
            "from django.contrib.auth.models import User; User.objects.create_superuser(%r, password=%r)" % (
                django_clients.READER, django_clients.PASSWORD)))
        self.postgres.query(
            "INSERT INTO shelf_book (request_id, title, author, cover, added)"
            " SELECT gen_random_uuid(), 'Book ' || n, 'Author ' || n %% 7, '', now() FROM generate_series(1, %s) n", (self.entries,))
        return url

    def manage(self, release, url, *arguments):
        result = subprocess.run(
            ["venv/bin/python", "manage.py", *arguments], cwd=self.bundle(release),
            env={**ENVIRONMENT, "DATABASE_URL": url}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if result.returncode != 0:
            raise RuntimeError("manage.py %s failed:\n%s" % (arguments[0], result.stdout))
        return result.stdout

    def first_release(self):
        adopting = [
            (node, subprocess.Popen(
                [self.binaries / "sluice-agent", "adopt", "--config", node.root / "etc" / "agent.yaml", "--release", "v1",
                 "--bundle", self.bundle("v1"), "--assets", "staticfiles", "--action", "start-app"],
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True))
            for node in self.nodes]
        for node, process in adopting:
            output = process.communicate(timeout=120)[0]
            if process.returncode != 0:
                raise RuntimeError("%s: adopt failed:\n%s" % (node.name, output))

    def start(self):
        super().start()
        for node in self.nodes:
            node.run_job("resume-worker")

    def stop(self):
        if not self.keep:
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
            ["/usr/bin/python3", "-s", "-E", HERE / "django_clients.py", kind, "--out", self.notes, "--rate", rate,
             "--threads", threads, "--url", self.balancer.url(), *more],
            self.directory / ("%s.log" % kind), {"PATH": os.environ["PATH"]})

    def start_clients(self, stragglers=False):
        self.start_site_client("reader", rate=5)
        self.start_site_client("anonymous", rate=5)
        self.start_site_client("writer", rate=4)
        node = self.nodes[0]
        self.start_site_client("cron", rate=1, threads=1, more=["--job", *node.command("cron-job")])

    def agent_configuration(self, node):
        actions = self.actions(node, ["start-app", "stop-app", "pause-worker", "resume-worker"])
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
