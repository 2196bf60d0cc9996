# SPDX-License-Identifier: Apache-2.0
"""What goes wrong with a site, and how it has to end; for `django_demo.py --fail NAME`."""

import shutil

from django_site import DJANGO
from faults import ROLLED_BACK, Fault


class FailingDownFile(Fault):
    text = "the down file adds a column that no row can have"
    codes = (ROLLED_BACK,)

    def prepare(self, fleet):
        migrations = fleet.plans / "migrations"
        shutil.copytree(DJANGO / "migrations", migrations)
        (migrations / "0001_shelf_0002_slug_and_loans.down.sql").write_text(
            "ALTER TABLE shelf_book RENAME COLUMN written_by TO author;\n"
            "ALTER TABLE shelf_book ADD COLUMN shelf_mark varchar(20) NOT NULL;\n")
        return fleet.variant("down", replace=[(str(DJANGO / "migrations"), str(migrations))])


class DeadApplication(Fault):
    text = "the new release dies when it is loaded"
    codes = (ROLLED_BACK,)

    def prepare(self, fleet):
        dead = fleet.plans / "dead"
        shutil.copytree(fleet.bundle("v2"), dead, symlinks=True)
        (dead / "bookshelf" / "wsgi.py").write_text("raise RuntimeError('no such setting')\n")
        shutil.rmtree(dead / "bookshelf" / "__pycache__")
        return fleet.variant("dead", replace=[(str(fleet.bundle("v2")), str(dead))])


FAULTS = {"down-file": FailingDownFile, "dead-application": DeadApplication}
