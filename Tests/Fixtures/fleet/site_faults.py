# SPDX-License-Identifier: Apache-2.0
"""What goes wrong with a site, and how it has to end; for `site_demo.py --fail NAME`."""

import os
import pathlib
import shutil
import signal
import threading

from sites import DJANGO
from faults import DONE, ROLLED_BACK, Fault

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


class UnhealthyRelease(Fault):
    text = "the new release is not healthy, on the migrated schema"
    codes = (ROLLED_BACK,)

    def prepare(self, fleet):
        views = (fleet.bundle("v2") / VIEWS).read_text().replace("count(written_by)", "count(author)")
        bundle = fleet.changed_bundle("unhealthy", {VIEWS: views})
        return fleet.variant("unhealthy", replace=[bundle, ("deadline: 1m", "deadline: 3s")])


class KilledTool(Fault):
    """The first time, 0003 says which process it is and waits; 0002 has been committed."""

    text = "manage.py migrate is killed between two migrations"
    codes = (DONE,)

    def prepare(self, fleet):
        self.mark = fleet.directory / "migrating"
        text = (fleet.bundle("v2") / LAST_MIGRATION).read_text().replace("def fill(apps, _):\n", WAIT % str(self.mark))
        self.stop = threading.Event()
        self.killer = threading.Thread(target=self.kill)
        self.killer.start()
        return fleet.variant("killed", replace=[fleet.changed_bundle("killed", {LAST_MIGRATION: text})])

    def kill(self):
        while not self.stop.wait(0.02):
            if self.mark.exists():
                os.kill(int(self.mark.read_text()), signal.SIGKILL)
                return

    def remove(self, fleet):
        self.stop.set()
        self.killer.join()


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
    ("django", False): {"down-file": FailingDownFile, "dead-application": DeadApplication},
    ("django", True): {"unhealthy": UnhealthyRelease},
}
