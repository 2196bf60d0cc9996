# SPDX-License-Identifier: Apache-2.0
"""The applications of `Tests/Fixtures/django`, `wagtail`, `alembic` and `rails`, and their bundles."""

import dataclasses
import hashlib
import os
import pathlib
import shutil
import subprocess
import tempfile

import site_clients
from node import FIXTURES, REPOSITORY


@dataclasses.dataclass
class Site:
    """What differs between the applications. Each has a `make-bundle` and a plan in `plans`."""

    name: str
    # A script of `agents/start`, and what it gets after `start`.
    server: list
    # In the bundle; nothing without hashed static files.
    assets: str | None
    # Of books.
    table: str
    # What v1's own tool and people did once, when they installed it.
    install: list
    # What the site's own tool believes: the query, and what is there before and after.
    ledger: str
    before: list
    after: list
    # What the tool prints when it applies the first migration of v2.
    tool_says: str | None = None
    # Whether the migrations are there as SQL as well; otherwise its own tool always migrates, and the plan says so itself.
    has_files: bool = True
    # The table of its worker's queue, where it has one (`bin`), and the nodes that have such a worker.
    queue: str | None = None
    workers: tuple = ("web-1", "web-2", "web-3")
    has_cron: bool = False
    has_admin: bool = False
    # Whether editors log in at `/cms/` and upload images.
    has_editors: bool = False
    # Whose plan it has, and whose script of `agents/migrate`; nothing: one of its own name.
    framework: str | None = None
    # Whether its pages have `X-Read-Only`, by its code, and a line, by its template.
    shows_mode: bool = False
    # Lines of `sluice-routes.conf`.
    routes: tuple = ()
    # Columns of a book that have no default in the database.
    more_columns: dict = dataclasses.field(default_factory=dict)
    # What all releases of a node have in common, and lines of `.env`.
    shared: tuple = (".env", "media")
    environment: str = ""

    @property
    def fixture(self):
        return FIXTURES / self.name

    @property
    def plan(self):
        return REPOSITORY / "plans" / ("%s.yaml" % self.kind)

    @property
    def kind(self):
        return self.framework or self.name


PYTHON = "venv/bin/python"
DJANGO = Site(
    name="django", server=["gunicorn", "bookshelf.wsgi:application"], assets="staticfiles", table="shelf_book",
    install=[[PYTHON, "manage.py", "migrate", "--noinput"],
             [PYTHON, "manage.py", "shell", "-c",
              "from django.contrib.auth.models import User; User.objects.create_superuser(%r, password=%r)" % (
                  site_clients.READER, site_clients.PASSWORD)]],
    ledger="SELECT name FROM django_migrations WHERE app = 'shelf' ORDER BY id", before=["0001_initial"],
    after=["0001_initial", "0002_slug_and_loans", "0003_fill_slugs"], tool_says="Applying shelf.0002_slug_and_loans",
    queue="shelf_job", has_cron=True, has_admin=True, shows_mode=True, more_columns={"added": "now()"})
WAGTAIL = dataclasses.replace(
    DJANGO, name="wagtail", framework="django", has_files=False, has_editors=True, routes=('"~^(GET|HEAD) /cms/" write;',),
    ledger="SELECT app || '.' || name FROM django_migrations WHERE app = 'wagtailcore' AND name >= '0095'"
           " OR app = 'wagtailusers' AND name >= '0015' ORDER BY 1",
    before=[], after=["wagtailcore.0095_groupsitepermission", "wagtailusers.0015_userprofile_keyboard_shortcuts"],
    tool_says="Applying wagtailcore.0095_groupsitepermission")
ALEMBIC = Site(
    name="alembic", server=["gunicorn", "wsgi:application"], assets=None, table="book",
    install=[[PYTHON, "-m", "alembic", "upgrade", "head"]],
    ledger="SELECT version_num FROM alembic_version", before=["0021"], after=["0023"],
    tool_says="Running upgrade 0021 -> 0022")
RAILS = Site(
    name="rails", server=["puma"], assets="public/assets", table="books", install=[["bin/rails", "db:migrate"]],
    ledger="SELECT version FROM schema_migrations ORDER BY version", before=["20260101000000"],
    after=["20260101000000", "20260201000000", "20260202000000"], tool_says="WrittenByAndLoans: migrating", has_files=False,
    queue="jobs", workers=("web-1",), shows_mode=True, more_columns={"created_at": "now()", "updated_at": "now()"}, shared=(".env", "media", "log"),
    environment="SECRET_KEY_BASE=%s\n" % ("a secret for the test " * 3))
SITES = {site.name: site for site in [DJANGO, WAGTAIL, ALEMBIC, RAILS]}


def make_bundles(site):
    """Both releases below one temporary directory."""
    directory = pathlib.Path(tempfile.mkdtemp(prefix="sluice-site."))
    directory.chmod(0o755)
    more = [virtual_environment(site)] if (site.fixture / "common" / "requirements.txt").exists() else []
    making = [subprocess.Popen([site.fixture / "make-bundle", release, directory / release, *more], stdout=subprocess.DEVNULL)
              for release in ["v1", "v2"]]
    if any([process.wait() for process in making]):
        raise RuntimeError("the bundles of %s could not be made" % site.name)
    return directory


def virtual_environment(site):
    """What the application is installed from, downloaded once and kept below the user's cache, or, for root, below /var/cache."""
    cache = pathlib.Path("/var/cache/sluice") if os.geteuid() == 0 else pathlib.Path(
        os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "sluice"
    parts = [site.fixture / "make-bundle", site.fixture / "common" / "requirements.txt"]
    made_of = b"".join(part.read_bytes() for part in parts if part.exists())
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
