# SPDX-License-Identifier: Apache-2.0
"""scripts/demo-mediawiki: upgrades a MediaWiki under load and proves the figures."""

import argparse
import json
import os
import pathlib
import shutil
import signal
import sys
import threading
import time

import checker
import ending
import site_checker
import state
from checker import Claim, acknowledged, notes_of
from faults import DONE, ROLLED_BACK, WAITING, Fault
from processes import wait_until
from wiki import TABLES, WikiFleet, make_bundles

SETTINGS = "LocalSettings.php"


class FailingTool(Fault):
    text = "update.php fails before it has changed anything"
    codes = (ROLLED_BACK,)

    def prepare(self, fleet):
        stop = "if ( defined( 'RUN_MAINTENANCE_IF_MAIN' ) ) {\n\tfwrite( STDERR, \"no such setting\\n\" );\n\texit( 1 );\n}\n"
        return fleet.variant("failing", replace=[fleet.changed_bundle(
            "failing", {SETTINGS: ("$wgSitename =", stop + "$wgSitename =")})])


class UnhealthyRelease(Fault):
    """After the tool's first change nothing goes back by itself: a person turns it back, and puts the database back by hand."""

    text = "the new release is not healthy, after update.php; there is no way back"
    codes = (WAITING,)

    def prepare(self, fleet):
        return fleet.variant("unhealthy", replace=[
            fleet.changed_bundle("unhealthy", {"health.php": ("echo 'pages: '", "http_response_code( 500 );\necho 'pages: '")}),
            ("deadline: 1m", "deadline: 3s")])

    def lead_out(self, fleet, run):
        fleet.operator("rollback", run)
        waits = fleet.operator("status", run, "--watch")[0]
        fleet.postgres.query("SET search_path TO mediawiki; DROP TABLE %s CASCADE; DELETE FROM updatelog WHERE ul_key = ANY(%%s)"
                             % ", ".join(TABLES), (self.added(fleet, run),))
        fleet.operator("retry", run)
        code = fleet.operator("status", run, "--watch")[0]
        return [Claim("  turned back, it waits for the database: exit code", str(waits), str(WAITING), waits == WAITING),
                Claim("  the database put back by hand, retry: exit code", str(code), str(ROLLED_BACK), code == ROLLED_BACK)]

    def added(self, fleet, run):
        reports = [fact.body.get("report") or {} for fact in fleet.journal(run).facts if fact.type == "database-task-ended"]
        return [entry for report in reports for entry in (report.get("change") or {}).get("added") or []]


class KilledTool(Fault):
    """Once it has made its first table."""

    text = "update.php is killed once it has made its first table"
    codes = (DONE,)

    def prepare(self, fleet):
        self.killed, self.stop = 0, threading.Event()
        self.killer = threading.Thread(target=self.kill, args=(fleet,))
        self.killer.start()
        return fleet.variant("killed")

    def kill(self, fleet):
        while not self.stop.wait(0.01):
            pids = tool_processes(fleet)
            if pids and fleet.postgres.query("SELECT to_regclass('mediawiki.abuse_filter') IS NOT NULL")[0][0]:
                for pid in pids:
                    os.kill(pid, signal.SIGKILL)
                self.killed = len(pids)
                return

    def remove(self, fleet):
        self.stop.set()
        self.killer.join()

    def claims(self, fleet, journal):
        return [Claim("processes of update.php that were killed", str(self.killed), "1", self.killed == 1)]


def tool_processes(fleet):
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and b"maintenance/update.php" in (entry / "cmdline").read_bytes() and str(
                    fleet.directory) in os.readlink(entry / "cwd"):
                found.append(int(entry.name))
        except OSError:
            continue
    return found


FAULTS = {"migrate": FailingTool, "unhealthy": UnhealthyRelease}


def fail(fleet, fault, say):
    """It ends as it should, and everything is as it was."""
    say("\nInjected: %s" % fault.text)
    plan = fault.prepare(fleet)
    before = state.snapshot(fleet)
    code, run = fleet.apply(plan, say=say, patience=900.0)
    journal = fleet.journal(run)
    led_out = fault.lead_out(fleet, run)
    fault.remove(fleet)
    changed = [line for lines in state.differences(before, state.snapshot(fleet)).values() for line in lines]
    return [Claim(fault.text, "exit code %d, %s" % (code, journal.outcome()), "exit code %s" % " or ".join(map(str, fault.codes)),
                  code in fault.codes, journal.reasons()), *led_out,
            Claim("  schema, rights, ledger and nodes: lines that differ from before", str(len(changed)), "0", not changed, changed)]


def upgrade(fleet, mishap, say):
    say("\nsluice apply; on the way goes wrong: %s" % mishap.text)
    rights = state.rights(fleet.postgres)
    plan = mishap.prepare(fleet)
    code, run = fleet.apply(plan, say=say, patience=900.0)
    mishap.remove(fleet)
    for line in fleet.operator("report", run)[1]:
        say("  " + line)
    journal = fleet.journal(run)
    wrong = ["%s: %s" % (node.name, node.active_release()) for node in fleet.nodes
             if node.active_release() != "v2" or not node.gate_is_open()]
    lost = set(rights.splitlines()) - set(state.rights(fleet.postgres).splitlines())
    tables = [table for table in TABLES if fleet.postgres.query("SELECT to_regclass('mediawiki.%s')" % table)[0][0] is None]
    ended = [fact for fact in journal.facts if fact.type == "tool-ended"]
    runs = 1 if type(mishap) is Fault else 2
    window, tool = journal.write_window() or 0, journal.migration_time()
    say("\nThe write window: %.0f ms, of them %.0f ms of update.php and %.0f ms of the rest; step by step:" % (
        window * 1000, tool * 1000, (window - tool) * 1000))
    for step, seconds in journal.window_parts():
        say("  %-28s %6.0f ms" % (step, seconds * 1000))
    return [Claim("the run is done", "exit code %d, %s" % (code, journal.outcome()), "0, done",
                  code == 0 and journal.outcome() == "done", journal.reasons()),
            Claim("nodes not on v2 with an open gate", str(len(wrong)), "0", not wrong, wrong),
            Claim("rights, roles and triggers changed by the fence", str(len(lost)), "0", not lost, sorted(lost)),
            Claim("tables of v2 that are missing", str(len(tables)), "0", not tables, tables),
            Claim("runs of update.php", str(len(ended)), str(runs), len(ended) == runs, [str(fact.body) for fact in ended]),
            *mishap.claims(fleet, journal)]


def edits(fleet):
    """The ledger against the database: a page for each acknowledged edit, with one revision of its text."""
    ledger = acknowledged(fleet.notes)["page"]
    rows = dict(fleet.postgres.query(
        "SELECT page_title, count(*) FROM mediawiki.page JOIN mediawiki.revision ON rev_page = page_id"
        " WHERE page_title LIKE 'Ledger-%' GROUP BY 1"))
    lost = [key for key in ledger if key not in rows]
    twice = [key for key, number in rows.items() if number != 1]
    return [Claim("acknowledged edits lost", "%d of %d" % (len(lost), len(ledger)), "0", not lost and bool(ledger), lost[:10]),
            Claim("edits stored twice", str(len(twice)), "0", not twice, twice[:10])]


def forgotten(fleet):
    """What update.php itself does: it empties the table that the wiki's sessions are in."""
    notes = [note for note in notes_of(fleet.notes, "writer") if "session was forgotten" in note.get("problem", "")]
    return Claim("edits that were sent again because update.php had ended the sessions", str(len(notes)), "any", True,
                 [json.dumps(note) for note in notes[:5]])


def everything(fleet, chosen, say):
    fleet.start_clients()
    for kind in ["reader-reader", "reader-member", "writer-editor"]:
        wait_until("the clients %s are at work" % kind, lambda kind=kind: notes_of(fleet.notes, kind), deadline=180.0)
    claims = []
    names = sorted(FAULTS) if chosen.fail == "all" else [chosen.fail] if chosen.fail else []
    for name in names:
        claims += fail(fleet, FAULTS[name](), say)
    claims += upgrade(fleet, KilledTool() if names else Fault(), say)
    time.sleep(5)
    fleet.stop_clients()
    return [*claims, checker.reads(fleet.notes), site_checker.sessions(fleet.notes), *edits(fleet), forgotten(fleet),
            checker.refused(fleet.notes, "hold")]


def main():
    parser = argparse.ArgumentParser(prog="scripts/demo-mediawiki", description=__doc__)
    parser.add_argument("--fail", choices=[*FAULTS, "all"], help="before the upgrade, let this go wrong")
    parser.add_argument("--binaries", required=True, type=pathlib.Path, help="where sluice and sluice-agent are")
    parser.add_argument("--json", action="store_true", help="the claims as one JSON object")
    parser.add_argument("--nodes", type=int, default=3, choices=range(1, 4), help="how many (default: 3)")
    parser.add_argument("--bundles", type=pathlib.Path, help="where both releases are already, as make-bundle makes them")
    chosen = parser.parse_args()

    def claims(say):
        bundles = chosen.bundles or make_bundles()
        try:
            with WikiFleet(chosen.binaries, bundles, nodes=chosen.nodes) as fleet:
                say("%d nodes on v1 at %s" % (len(fleet.nodes), fleet.balancer.url()))
                return everything(fleet, chosen, say)
        finally:
            if not chosen.bundles:
                shutil.rmtree(bundles, ignore_errors=True)

    return ending.tell("demo-mediawiki", chosen.json, claims)


if __name__ == "__main__":
    sys.exit(main())
