# SPDX-License-Identifier: Apache-2.0
"""What goes wrong in the upgrade of a site of Frappe, in each phase, and how it has to end."""

import os
import shutil
import signal
import threading

from faults import DONE, LEASE, PHASES, REFUSED, ROLLED_BACK, WAITING, Fault, Kill
from frappe_fleet import DATABASE, SECOND_DATABASE, SITE
from postgres import MIGRATOR

# What goes wrong besides the phases.
SECOND = "second-site"
# From the first change of `bench migrate` on nothing goes back by itself.
PAST_RETURN = ("migrate", "rollout", "verify")


class CreateRole(Fault):
    text = "the site's role may create roles, which no fence covers"
    codes = (REFUSED,)

    def prepare(self, fleet):
        fleet.postgres.query('ALTER ROLE "%s" CREATEROLE' % DATABASE)
        return super().prepare(fleet)

    def remove(self, fleet):
        fleet.postgres.query('ALTER ROLE "%s" NOCREATEROLE' % DATABASE)


class Hook(Fault):
    """An action after the phase's own work fails on web-2. What can go back does; what cannot waits for a person, who retries."""

    def __init__(self, phase):
        super().__init__(phase)
        self.text = "an action after %s fails on web-2" % phase
        self.codes = (WAITING,) if phase in PAST_RETURN else (ROLLED_BACK,)

    def prepare(self, fleet):
        (fleet.nodes[1].faults / "smoke-test").touch()
        if self.phase == "rollout":
            return fleet.variant("fails-rollout", replace=[("  warm: [start-app]\n", "  warm: [start-app]\n  actions: [smoke-test]\n")])
        return fleet.variant("fails-" + self.phase, replace=[("hooks:\n", "hooks:\n  - {after: %s, run: smoke-test}\n" % self.phase)])

    def remove(self, fleet):
        (fleet.nodes[1].faults / "smoke-test").unlink(missing_ok=True)


class BrokenPatch(Fault):
    """As the first patch of 15 on PostgreSQL: somebody does its work by hand, and the migration goes on."""

    text = "a patch cannot be applied; somebody does by hand what it lacks, and retries"
    codes = (WAITING,)

    def prepare(self, fleet):
        bundle = fleet.plans / "broken"
        shutil.copytree(fleet.bundle(fleet.new), bundle, symlinks=True)
        module = bundle / "apps" / "frappe" / "frappe"
        (module / "patches" / "b_content_type.sql").write_text('ALTER TABLE "tabNote" ADD COLUMN content_type "tabLacking";\n')
        return fleet.variant("broken", replace=[(str(fleet.bundle(fleet.new)), str(bundle))])

    def remove(self, fleet):
        # Behind the fence nobody but Sluice's own role changes a definition.
        fleet.postgres.query('SET ROLE "%s"; CREATE DOMAIN "tabLacking" AS text' % DATABASE, user=MIGRATOR)


class SecondSite(BrokenPatch):
    """The first site has what the patch lacks, so it is migrated, and the second is not."""

    text = "a patch cannot be applied to the second site, after the first was migrated; somebody does by hand what it lacks, and retries"

    def prepare(self, fleet):
        self.give(fleet, DATABASE)
        return super().prepare(fleet)

    def give(self, fleet, database):
        fleet.postgres.query('SET ROLE "%s"; CREATE DOMAIN "tabLacking" AS text' % database, user=MIGRATOR, database=database)

    def remove(self, fleet):
        self.give(fleet, SECOND_DATABASE)


class KilledMigration(Fault):
    """The first time, it says before its third patch which process it is, and waits; two have been committed."""

    text = "bench migrate is killed between two patches"
    codes = (DONE,)

    def prepare(self, fleet):
        self.mark = fleet.directory / "migrating"
        for node in fleet.nodes:
            path = node.sites / "common_site_config.json"
            path.write_text(path.read_text().replace("{", '{"standin_mark": "%s", ' % self.mark, 1))
        self.stop = threading.Event()
        self.killer = threading.Thread(target=self.kill)
        self.killer.start()
        return super().prepare(fleet)

    def kill(self):
        while not self.stop.wait(0.02):
            if self.mark.exists():
                os.kill(int(self.mark.read_text()), signal.SIGKILL)
                return

    def remove(self, fleet):
        self.stop.set()
        self.killer.join()


class KilledFrappe(Kill):
    """kill -9 of the coordinator or of the agent of web-1, where the migration runs."""

    codes = (DONE, REFUSED, ROLLED_BACK)

    def on_fact(self, fleet, body):
        if self.killed or self.victim != "agent":
            return super().on_fact(fleet, body)
        if body["type"] == "step-began" and body["phase"] == self.phase and body["direction"] == "forward":
            self.killed = True
            fleet.kill_agent(fleet.nodes[0])
            threading.Event().wait(self.away)
            fleet.start_agent(fleet.nodes[0])


def failing(phase):
    if phase == "preflight":
        return CreateRole(phase)
    if phase == SECOND:
        return SecondSite("migrate")
    if phase == "migrate":
        return BrokenPatch(phase)
    if phase in ("lift", "finish"):
        return KilledFrappe("coordinator", phase)
    return Hook(phase)


def killing(victim, phase):
    return KilledMigration(phase) if victim == "migration" else KilledFrappe(victim, phase)


__all__ = ["DONE", "LEASE", "PHASES", "ROLLED_BACK", "SECOND", "SITE", "WAITING", "failing", "killing"]
