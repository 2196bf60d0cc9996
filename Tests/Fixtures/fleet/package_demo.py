# SPDX-License-Identifier: Apache-2.0
"""scripts/demo-mlflow: upgrades an application of somebody else's, from PyPI, under load and proves the figures."""

import argparse
import collections
import pathlib
import shutil
import sys
import time

import checker
import ending
import site_checker
import site_figures
import state
from checker import Claim, acknowledged
from faults import Fault
from package_fleet import PACKAGES, PackageFleet, make_bundles
from package_faults import FAULTS, MISHAPS


def everything(fleet, faults, mishap, say):
    checker.prepare_proof(fleet.postgres)
    fleet.start_clients()
    time.sleep(5)
    claims = []
    for fault in faults:
        claims += fail(fleet, fault, say)
    claims += upgrade(fleet, mishap, say)
    time.sleep(5)
    fleet.stop_clients()
    policy = "either" if any(each.writes == "either" for each in [*faults, mishap]) else "hold"
    return [*claims, checker.reads(fleet.notes), *writes(fleet), checker.refused(fleet.notes, policy)]


def fail(fleet, fault, say):
    """It ends as it should, and everything is as it was."""
    say("\nInjected: %s" % fault.text)
    plan = fault.prepare(fleet)
    before = state.snapshot(fleet)
    code, run = fleet.apply(plan, on_fact=lambda body: fault.on_fact(fleet, body), say=say, patience=900)
    fault.remove(fleet)
    journal = fleet.journal(run)
    changed = [line for lines in state.differences(before, state.snapshot(fleet)).values() for line in lines]
    window = journal.write_window()
    if window is not None:
        say("The write window: %.1f s" % window)
    return [Claim(fault.text, "exit code %d, %s" % (code, journal.outcome()), "exit code %s" % " or ".join(map(str, fault.codes)),
                  code in fault.codes, journal.reasons()),
            *fault.claims(fleet, journal),
            Claim("  schema, rights, ledger and nodes: lines that differ from before", str(len(changed)), "0", not changed, changed)]


def upgrade(fleet, mishap, say):
    package, own = fleet.site, site_figures.own_start(fleet)
    said = set(fleet.outputs_of_tool())
    say("\nsluice apply; on the way goes wrong: %s" % mishap.text)
    plan = mishap.prepare(fleet)
    code, run = fleet.apply(plan, on_fact=lambda body: mishap.on_fact(fleet, body), say=say, patience=900)
    mishap.remove(fleet)
    for line in fleet.operator("report", run)[1]:
        say("  " + line)
    journal = fleet.journal(run)
    wrong = ["%s: %s, %s" % (node.name, node.active_release(), node.running_applications()) for node in fleet.nodes
             if node.active_release() != package.new or node.running_applications() != [package.new] or not node.gate_is_open()]
    claims = [Claim("the run is done", "exit code %d, %s" % (code, journal.outcome()), "0, done",
                    code == 0 and journal.outcome() == "done", journal.reasons()),
              Claim("nodes not on %s alone with an open gate" % package.new, str(len(wrong)), "0", not wrong, wrong),
              site_checker.own_ledger(fleet.postgres, package, package.after)]
    if mishap.tool_runs_once:
        claims.append(site_checker.tool_runs(journal, [path for path in fleet.outputs_of_tool() if path not in said]))
    proof = journal.proof(package.old, package.new)
    if proof is not None:
        claims.append(checker.commits_in_window(fleet.postgres, fleet.notes, proof, ledger="public.alembic_version"))
    window = journal.write_window()
    if window is not None:
        say_window(fleet, journal, window, own, say)
    return claims


def say_window(fleet, journal, window, own, say):
    """Where it went: the tool by its node's clock, the slowest start, and what is left of the window without both.

    `own`: what the old release's tool takes where nothing is to be done.
    """
    tool = journal.migration_time()
    starts = {node.name: node.start_took(fleet.site.new) or 0.0 for node in fleet.nodes}
    slowest = max(starts.values())
    say("\nThe write window: %.1f s; without the tool (%.1f s, its own start %.1f s) and the slowest start (%.1f s): %.1f s" % (
        window, tool, own, slowest, window - tool - slowest))
    for step, seconds in journal.window_parts():
        say("  %-28s %6.0f ms" % (step, seconds * 1000))
    say("  starts: %s" % ", ".join("%s %.1f s" % pair for pair in starts.items()))


def writes(fleet):
    """Each acknowledged run once, with its metrics, its parameter, its end and its file."""
    ledger = acknowledged(fleet.notes)
    runs = fleet.postgres.query("SELECT name, run_uuid, status FROM runs")
    stored = collections.defaultdict(list)
    for name, run, status in runs:
        stored[name].append((run, status))
    metrics = collections.Counter(run for run, in fleet.postgres.query("SELECT run_uuid FROM metrics WHERE key = 'loss' AND value = 0.25"))
    parameters = dict(fleet.postgres.query("SELECT run_uuid, value FROM params WHERE key = 'request'"))
    lost = ["run " + key for key in ledger["runs"] if not stored[key]]
    lost += ["metrics of " + key for key, note in ledger["metrics"].items() if metrics[note["run"]] != 3 or parameters.get(note["run"]) != key]
    lost += ["end of " + key for key in ledger["finished"] if "FINISHED" not in [status for _, status in stored[key]]]
    files = fleet.directory / "artifacts"
    missing = [key for key, note in ledger["artifacts"].items() if not holds(files, note["run"], key)]
    twice = [key for key, found in stored.items() if len(found) > 1]
    number = sum(len(notes) for notes in ledger.values())
    return [Claim("acknowledged writes lost or changed", "%d of %d" % (len(lost), number), "0", not lost and number > 0, lost[:10]),
            Claim("runs stored twice", str(len(twice)), "0", not twice, twice[:10]),
            Claim("acknowledged files lost or changed", "%d of %d" % (len(missing), len(ledger["artifacts"])), "0",
                  not missing and bool(ledger["artifacts"]), missing[:10])]


def holds(directory, run, key):
    return any(key in path.read_text() for path in pathlib.Path(directory).glob("*/%s/artifacts/key.txt" % run))


def arguments():
    parser = argparse.ArgumentParser(prog="scripts/demo-mlflow", description=__doc__)
    parser.add_argument("--package", choices=sorted(PACKAGES), default="mlflow")
    parser.add_argument("--fail", choices=[*FAULTS, *MISHAPS, "all"], metavar="NAME", nargs="+", default=[],
                        help="let these go wrong, before the upgrade (%s) or in it (%s); `all`: all of the former, and the last of the latter" % (
                            ", ".join(FAULTS), ", ".join(MISHAPS)))
    parser.add_argument("--nodes", type=int, choices=[2, 3], default=3)
    parser.add_argument("--workers", type=int, default=1, help="of the application on each node (default: 1)")
    parser.add_argument("--binaries", required=True, type=pathlib.Path, help="where sluice and sluice-agent are")
    parser.add_argument("--json", action="store_true", help="the claims as one JSON object")
    return parser.parse_args()


def upgraded(chosen, say):
    package, bundles = PACKAGES[chosen.package], None
    try:
        began = time.monotonic()
        bundles = make_bundles(package)
        made = time.monotonic()
        with PackageFleet(chosen.binaries, package, bundles, nodes=chosen.nodes, workers=chosen.workers) as fleet:
            say("%d nodes on %s %s at %s (bundles %.1f s, fleet %.1f s)" % (
                len(fleet.nodes), package.name, package.old, fleet.balancer.url(), made - began, time.monotonic() - made))
            names = [*FAULTS, list(MISHAPS)[-1]] if "all" in chosen.fail else chosen.fail
            faults = [FAULTS[name] for name in names if name in FAULTS]
            mishap = next((MISHAPS[name] for name in names if name in MISHAPS), Fault)
            return everything(fleet, [fault() for fault in faults], mishap(), say)
    finally:
        if bundles is not None:
            shutil.rmtree(bundles, ignore_errors=True)


def main():
    chosen = arguments()
    return ending.tell("demo-mlflow", chosen.json, lambda say: upgraded(chosen, say))


if __name__ == "__main__":
    sys.exit(main())
