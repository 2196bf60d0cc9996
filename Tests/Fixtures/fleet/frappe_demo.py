# SPDX-License-Identifier: Apache-2.0
"""scripts/demo-frappe: upgrades a site of Frappe on three nodes under load, with plans/frappe.yaml and agents/frappe, and proves the figures.

Without --old and --new these are benches of the stand-in (Tests/Fixtures/frappe).
"""

import argparse
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

import checker
import ending
import state
from checker import Claim, notes_of
from faults import DONE, PHASES, WAITING, Fault
from frappe_faults import SECOND, failing, killing
from frappe_fleet import FIXTURES, FrappeFleet
from processes import wait_until

# Rows of people, which nobody but they and their pages write.
PEOPLE = ("Note", "Sessions", "User", "Job")


class Upgrade:
    """One run of the plan after another on one fleet, with clients all the time."""

    def __init__(self, fleet, say):
        self.fleet, self.say = fleet, say
        self.configurations = [node.site_configs() for node in fleet.nodes]

    def go(self, fault):
        """Until the run has ended, with the help of a person where it asks for one."""
        fleet = self.fleet
        self.say("\nGoes wrong: %s" % fault.text)
        plan = fault.prepare(fleet)
        before = self.snapshot()
        code, run = fleet.apply(plan, on_fact=lambda body: fault.on_fact(fleet, body), say=self.say)
        is_back = code not in (DONE, WAITING)
        changed = [line for lines in state.differences(before, self.snapshot()).values() for line in lines] if is_back else []
        fault.remove(fleet)
        journal = fleet.journal(run)
        claims = [Claim(fault.text, "exit code %d, %s" % (code, journal.outcome()), "exit code %s" % " or ".join(map(str, fault.codes)),
                        code in fault.codes, journal.reasons())]
        if code == WAITING:
            fleet.operator("retry", run)
            code = fleet.operator("status", run, "--watch", "--json")[0]
            journal = fleet.journal(run)
            claims.append(Claim("  and after `sluice retry`", "exit code %d, %s" % (code, journal.outcome()), "0", code == DONE, journal.reasons()))
        if code == DONE:
            self.journal = journal
        elif is_back:
            claims.append(Claim("  schema, rights, ledger and nodes: lines that differ from before", str(len(changed)), "0", not changed, changed))
        if code == DONE and len(fleet.databases) > 1:
            claims += self.sites()
        return claims + self.settled(fleet.new if code == DONE else fleet.old), code == DONE

    def snapshot(self):
        found = state.snapshot(self.fleet)
        for database in list(self.fleet.databases.values())[1:]:
            found["schema of " + database] = state.schema(self.fleet.postgres, database)
            found["rights of " + database] = state.rights(self.fleet.postgres, database)
        return found

    def sites(self):
        """Each was let in by itself, after the one before had been looked at, and is migrated whole."""
        fleet, names = self.fleet, list(self.fleet.databases)
        passes = [(fact.body["kind"], fact.body["database"]) for fact in self.journal.facts
                  if fact.type == "database-task-ended" and fact.body["kind"] in ("openPass", "closePass") and fact.body["result"] == "done"]
        opened = [name for kind, name in passes if kind == "openPass"]
        side_by_side = [pair for pair in zip(passes[::2], passes[1::2]) if pair[0][1] != pair[1][1]]
        versions = {site: fleet.postgres.query('SELECT app_version FROM "tabInstalled Application"', database=database)[0][0]
                    for site, database in fleet.databases.items()}
        patches = {site: [patch for patch, in fleet.postgres.query('SELECT patch FROM "tabPatch Log" ORDER BY 1', database=database)]
                   for site, database in fleet.databases.items()}
        whole = len(set(map(tuple, patches.values()))) == 1 and all(len(each) == len(set(each)) for each in patches.values())
        return [Claim("  sites that the migration was let into, in order", " ".join(opened), " ".join(names),
                      list(dict.fromkeys(opened)) == names, [str(passes)]),
                Claim("  sites that were open while another was", str(len(side_by_side)), "0", not side_by_side, [str(passes)]),
                Claim("  versions of the sites", " ".join(versions.values()), fleet.new, set(versions.values()) == {fleet.new}),
                Claim("  patches of each site, each once", " ".join(str(len(each)) for each in patches.values()), "the same", whole)]

    def settled(self, release):
        """Whatever the end was: the switches are as they were, one release runs, and its workers with it."""
        fleet = self.fleet
        switched = [node.name for node, text in zip(fleet.nodes, self.configurations)
                    if node.site_configs() != text or list(node.sites.glob("*/.sluice-before.json"))]
        wrong = ["%s: %s, runs %s, gate %s" % (node.name, node.active_release(), node.running_applications(), node.gate_is_open())
                 for node in fleet.nodes
                 if (node.active_release(), node.running_applications(), node.gate_is_open()) != (release, [release], True)]
        jobs = ["%s: %s" % (node.name, node.jobs_of()) for node in fleet.nodes if node.jobs_of() != [release] * 2]
        return [Claim("  nodes whose switches are not as they were before", str(len(switched)), "0", not switched, switched),
                Claim("  nodes that are not on %s alone with an open gate" % release, str(len(wrong)), "0", not wrong, wrong),
                Claim("  nodes whose worker and scheduler are not of %s" % release, str(len(jobs)), "0", not jobs, jobs)]

    # What the clients saw, in the end

    def seen(self):
        fleet, lifted = self.fleet, self.journal.write_window_ends()
        versions = [note for note in notes_of(fleet.notes, "reader") if note["kind"] == "version" and "release" in note]
        late = [note for note in versions if note["began"] > lifted]
        stale = [note for note in late if note["release"] != fleet.new]
        claims = [checker.reads(fleet.notes), *self.writes(), checker.refused(fleet.notes, "refuse"),
                  Claim("answers of the old release after the lift", "%d of %d" % (len(stale), len(late)), "0", not stale and bool(late), stale[:5]),
                  self.commits()]
        return claims + (self.jobs(lifted) if self.fleet.is_standin else [])

    def writes(self):
        acknowledged = checker.acknowledged(self.fleet.notes)["tabNote"]
        stored = {}
        for title, content in self.fleet.postgres.query('SELECT title, content FROM "tabNote"'):
            stored.setdefault(title, []).append(content)
        lost = [key for key, note in acknowledged.items() if not any(note["author"] in text for text in stored.get(key, []))]
        twice = [title for title, rows in stored.items() if len(rows) > 1]
        return [Claim("acknowledged writes lost or changed", "%d of %d" % (len(lost), len(acknowledged)), "0", not lost and bool(acknowledged), lost[:5]),
                Claim("writes stored twice", str(len(twice)), "0", not twice, twice[:5])]

    def commits(self):
        """Between census and lift the write-ahead log has no commit that changed what people write."""
        proof = self.journal.proof(self.fleet.old, self.fleet.new)
        closed = checker._position(proof.fence_lsn)
        inside = [each for each in checker.transactions(self.fleet.postgres) if each.lsn > closed and each.committed_at < proof.lift_began_at]
        tables = {'public."tab%s"' % name for name in PEOPLE}
        wrong = [str(each.tables) for each in inside if tables & set(each.tables)]
        return Claim("commits of people between census and lift", "%d of %d transactions in the log" % (len(wrong), len(inside)), "0",
                     not wrong and bool(inside), wrong[:5])

    def jobs(self, lifted):
        fleet = self.fleet
        views = {note["key"] for note in notes_of(fleet.notes, "reader") if note["kind"] == "view" and note["status"] == 200}

        def lost():
            return views - {path for path, in fleet.postgres.query('SELECT path FROM "tabView Log"')}
        try:
            wait_until("every view is written", lambda: not lost(), deadline=10)
        except TimeoutError:
            pass
        port = int(fleet.queue_url.rpartition(":")[2])
        failed = int(fleet.ask_redis(port, "LLEN", "rq:failed") or 0)
        done = dict(fleet.postgres.query('SELECT done_by, count(*) FROM "tabJob" GROUP BY 1'))
        late = fleet.postgres.query('SELECT count(*) FROM "tabJob" WHERE done_by = %s AND done_at > to_timestamp(%s)', (fleet.old, lifted))[0][0]
        return [Claim("page views that waited in a cache and were lost", "%d of %d" % (len(lost()), len(views)), "0", not lost() and bool(views)),
                Claim("jobs that failed, or were done by the old release after the lift", "%d, %d of %s" % (failed, late, done), "0, 0",
                      failed == late == 0 and len(done) == 2)]

    def figures(self):
        window = self.journal.write_window()
        self.say("\nThe write window: %.2f s, of them %.2f s of bench migrate; step by step:" % (window, self.journal.migration_time()))
        for step, seconds in self.journal.window_parts():
            self.say("  %-28s %6.0f ms" % (step, seconds * 1000))


def everything(fleet, faults, say):
    """Each run after the other, until one is done; then what was seen of all of them."""
    checker.prepare_proof(fleet.postgres)
    fleet.start_clients()
    time.sleep(3)
    upgrade, claims, is_done = Upgrade(fleet, say), [], False
    for fault in [*faults, Fault()]:
        if not is_done:
            found, is_done = upgrade.go(fault)
            claims += found
    time.sleep(2)
    fleet.stop_clients()
    if not is_done:
        return claims
    upgrade.figures()
    return claims + upgrade.seen()


def arguments():
    parser = argparse.ArgumentParser(prog="scripts/demo-frappe", description=__doc__)
    parser.add_argument("--fail", action="append", choices=[*PHASES, SECOND], default=[], metavar="PHASE",
                        help="before that, let this phase go wrong; %s: the migration of that" % SECOND)
    parser.add_argument("--two-sites", action="store_true", help="of one bench, in one plan")
    parser.add_argument("--kill", choices=["coordinator", "agent", "migration"], help="kill -9 it in the upgrade, in the phase of --in")
    parser.add_argument("--in", dest="phase", choices=PHASES, metavar="PHASE", default="migrate")
    parser.add_argument("--old", nargs=2, metavar=("VERSION", "BUNDLE"), help="a release as agents/frappe has it, and its version")
    parser.add_argument("--new", nargs=2, metavar=("VERSION", "BUNDLE"))
    parser.add_argument("--binaries", required=True, type=pathlib.Path, help="where sluice and sluice-agent are")
    parser.add_argument("--json", action="store_true", help="the claims as one JSON object")
    chosen = parser.parse_args()
    if SECOND in chosen.fail and not chosen.two_sites:
        parser.error("--fail %s wants --two-sites" % SECOND)
    return chosen


def benches(chosen, directory):
    if chosen.old and chosen.new:
        return [(version, pathlib.Path(bundle)) for version, bundle in (chosen.old, chosen.new)]
    found = [("14.51.0", directory / "old"), ("15.8.1", directory / "new")]
    for version, bundle in found:
        subprocess.run([FIXTURES / "frappe" / "make-bench", version, bundle], check=True)
    return found


def upgraded_benches(chosen, say):
    directory = pathlib.Path(tempfile.mkdtemp(prefix="sluice-benches."))
    directory.chmod(0o755)
    try:
        began = time.monotonic()
        with FrappeFleet(chosen.binaries, benches(chosen, directory), chosen.two_sites) as fleet:
            say("%d nodes on %s at %s (%.1f s)" % (len(fleet.nodes), fleet.old, fleet.balancer.url(), time.monotonic() - began))
            faults = [failing(phase) for phase in chosen.fail] + ([killing(chosen.kill, chosen.phase)] if chosen.kill else [])
            return everything(fleet, faults, say)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def main():
    chosen = arguments()
    return ending.tell("demo-frappe", chosen.json, lambda say: upgraded_benches(chosen, say))


if __name__ == "__main__":
    sys.exit(main())
