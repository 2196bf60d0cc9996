# SPDX-License-Identifier: Apache-2.0
"""What goes wrong with a site, and how it has to end; for `site_demo.py --fail NAME`."""

import os
import pathlib
import shutil
import signal
import threading

from checker import Claim
from faults import DONE, ROLLED_BACK, WAITING, Fault, restart_agent, restart_coordinator
from processes import wait_until
from site_applications import DJANGO

WSGI = "bookshelf/wsgi.py"
VIEWS = "shelf/views.py"
LAST_MIGRATION = "shelf/migrations/0003_fill_slugs.py"


class FailingDownFile(Fault):
    text = "the down file adds a column that no row can have"
    codes = (ROLLED_BACK,)
    # The way back is tried for 300 ms; on a busy machine it is passed over, with a warning, and the run is done.
    needs_calm = True

    def prepare(self, fleet):
        migrations = fleet.plans / "migrations"
        shutil.copytree(DJANGO.fixture / "migrations", migrations)
        (migrations / "0001_shelf_0002_slug_and_loans.down.sql").write_text(
            "ALTER TABLE shelf_book RENAME COLUMN written_by TO author;\n"
            "ALTER TABLE shelf_book ADD COLUMN shelf_mark varchar(20) NOT NULL;\n")
        return fleet.variant("down", replace=[(str(DJANGO.fixture / "migrations"), str(migrations))])


class DeadApplication(Fault):
    text = "the new release dies when it is loaded"
    codes = (ROLLED_BACK,)

    def prepare(self, fleet):
        return fleet.variant("dead", replace=[fleet.changed_bundle("dead", {WSGI: "raise RuntimeError('no such setting')\n"})])


class StartScriptThatMigrates(Fault):
    """What starts the release changes the schema and then fails, so the run turns back before any migration of its own."""

    text = "what starts the new release makes a table and dies"
    codes = (WAITING,)

    def prepare(self, fleet):
        return fleet.variant("migrating", replace=[fleet.changed_bundle("migrating", {WSGI: MIGRATING})])

    def lead_out(self, fleet, run):
        said = fleet.operator("status", run)[1]
        fleet.postgres.query("DROP TABLE shelf_by_script")
        fleet.operator("retry", run)
        code = fleet.operator("status", run, "--watch")[0]
        is_named = any("the schema is not as it was before: table public.shelf_by_script is new" in line for line in said)
        return [Claim("  the run names the table and waits", str(is_named), "True", is_named, said),
                Claim("  once the table is dropped, retry: exit code", str(code), str(ROLLED_BACK), code == ROLLED_BACK)]


MIGRATING = """import os
import django
from django.db import connection

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "bookshelf.settings")
django.setup()
with connection.cursor() as cursor:
    cursor.execute("CREATE TABLE IF NOT EXISTS shelf_by_script (id integer)")
raise RuntimeError("no such setting")
"""


class UnhealthyRelease(Fault):
    text = "the new release is not healthy, on the migrated schema"
    codes = (ROLLED_BACK,)
    # The file with its health page, and the words there that are replaced.
    page, right, wrong = VIEWS, "count(written_by)", "count(author)"

    def prepare(self, fleet):
        text = (fleet.bundle("v2") / self.page).read_text().replace(self.right, self.wrong)
        bundle = fleet.changed_bundle("unhealthy", {self.page: text})
        return fleet.variant("unhealthy", replace=[bundle, ("deadline: 1m", "deadline: 3s")])


class UnhealthyWagtail(UnhealthyRelease):
    right = "count(author) FROM shelf_book"
    wrong = "1 / (to_regclass('wagtailcore_groupsitepermission') IS NULL)::integer"


class UnhealthyAlembic(UnhealthyRelease):
    page, right, wrong = "wsgi.py", 'query("SELECT count(%s) FROM book" % AUTHOR)', 'query("SELECT count(author) FROM book")'


class UnhealthyRails(UnhealthyRelease):
    page, right, wrong = "app/controllers/health_controller.rb", "#{Book::AUTHOR}", "author"


class KilledTool(Fault):
    """The first time, the last migration says which process it is and waits; the one before has been committed."""

    text = "manage.py migrate is killed between two migrations"
    codes = (DONE,)
    tool_runs_once = False

    def prepare(self, fleet):
        self.mark = fleet.directory / "migrating"
        path, changes = self.migration(fleet)
        text = (fleet.bundle("v2") / path).read_text()
        for old, new in changes:
            text = text.replace(old, new)
        self.stop = threading.Event()
        self.killer = threading.Thread(target=self.kill)
        self.killer.start()
        return fleet.variant("killed", replace=[fleet.changed_bundle("killed", {path: text})])

    def migration(self, fleet):
        """The last one, and what is replaced in it."""
        return LAST_MIGRATION, [("def fill(apps, _):\n", WAIT % str(self.mark))]

    def kill(self):
        while not self.stop.wait(0.02):
            if self.mark.exists():
                os.kill(int(self.mark.read_text()), signal.SIGKILL)
                return

    def remove(self, fleet):
        self.stop.set()
        self.killer.join()


class KilledWagtailTool(KilledTool):
    """In a migration of the package's own."""

    def migration(self, fleet):
        [path] = fleet.bundle("v2").glob("venv/lib/python*/site-packages/wagtail/users/migrations/0015_*.py")
        step = "    operations = [\n"
        return str(path.relative_to(fleet.bundle("v2"))), [
            ("class Migration(", WAIT % str(self.mark) + "\n\nclass Migration("),
            (step, step + "        migrations.RunPython(fill, migrations.RunPython.noop),\n")]


class KilledAlembic(Fault):
    """The first time, the last revision says which process it is and waits; the one before has been committed."""

    text = "alembic upgrade waits between two revisions; kill -9 of the coordinator, of the agent of its node, and of itself"
    codes = (DONE,)
    tool_runs_once = False
    # Those that an agent held are refused politely: nginx finds the flag and answers in its place.
    writes = "either"
    killed = False

    def prepare(self, fleet):
        self.mark = fleet.directory / "migrating"
        path = "alembic/versions/0023_slugs.py"
        text = (fleet.bundle("v2") / path).read_text()
        waits = WAIT % str(self.mark) + "\n\ndef upgrade():\n    fill(None, None)\n"
        return fleet.variant("killed", replace=[fleet.changed_bundle("killed", {path: text.replace("def upgrade():\n", waits)})])

    def on_fact(self, fleet, body):
        if body["type"] == "step-began" and body["step"] == "nodes:tool" and not self.killed:
            self.killed = True
            wait_until("the tool waits", self.mark.exists, deadline=120.0)
            restart_coordinator(fleet)
            restart_agent(fleet, fleet.nodes[0])
            os.kill(int(self.mark.read_text()), signal.SIGKILL)


WAIT = """def fill(apps, _):
    import os, pathlib, time
    mark = pathlib.Path(%r)
    if not mark.exists():
        mark.with_suffix(".new").write_text(str(os.getpid()))
        mark.with_suffix(".new").rename(mark)
        time.sleep(60)
"""

# Of a site, by whether its own tool migrates. What a plan may be made of in both is tried with one.
FAULTS = {
    ("django", False): {"down-file": FailingDownFile, "dead-application": DeadApplication,
                        "migrating-start": StartScriptThatMigrates},
    ("django", True): {"unhealthy": UnhealthyRelease},
    ("wagtail", True): {"unhealthy": UnhealthyWagtail},
    ("rails", True): {"unhealthy": UnhealthyRails},
    ("alembic", True): {"unhealthy": UnhealthyAlembic},
}
# What happens in the upgrade itself, where failures are asked for.
MISHAPS = {("django", True): KilledTool, ("wagtail", True): KilledWagtailTool, ("alembic", True): KilledAlembic}
