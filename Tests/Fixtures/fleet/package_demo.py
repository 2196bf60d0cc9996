# SPDX-License-Identifier: Apache-2.0
"""scripts/demo-mlflow, scripts/demo-redmine: upgrades an application of somebody else's under load and proves the figures."""

import argparse
import pathlib
import shutil
import sys
import time

import checker
import ending
import owner_level
import site_checker
import site_figures
import state
from checker import Claim
from faults import Fault
from package_faults import FAULTS, MISHAPS
from package_fleet import MLFLOW, PackageFleet, make_bundles
from redmine import REDMINE, RedmineFleet

PACKAGES = {"mlflow": (MLFLOW, PackageFleet), "redmine": (REDMINE, RedmineFleet)}


def everything(fleet, faults, mishap, say):
    checker.prepare_proof(fleet.postgres)
    fleet.start_clients()
    time.sleep(5)
    claims = []
    for fault in faults:
        claims += fail(fleet, fault, say)
    upgraded, journal = upgrade(fleet, mishap, say)
    time.sleep(5)
    fleet.stop_clients()
    policy = "either" if any(each.writes == "either" for each in [*faults, mishap]) else "hold"
    return [*claims, *upgraded, checker.reads(fleet.notes), *fleet.claims_of_writes(journal.write_window_ends()),
            checker.refused(fleet.notes, policy)]


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
    if fleet.postgres.fence == "owner":
        claims += owner_level.claims(journal, plan.read_text())
    proof = journal.proof(package.old, package.new)
    if proof is not None:
        claims.append(checker.commits_in_window(fleet.postgres, fleet.notes, proof, ledger=package.ledger_table))
    window = journal.write_window()
    if window is not None:
        say_window(fleet, journal, window, own, say)
    return claims, journal


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


def arguments():
    parser = argparse.ArgumentParser(prog="package_demo.py", description=__doc__)
    parser.add_argument("--package", choices=sorted(PACKAGES), default="mlflow")
    parser.add_argument("--fence", choices=["complete", "owner"], default="complete",
                        help="owner: the migrator is no superuser, as on managed servers (default: complete)")
    parser.add_argument("--fail", metavar="NAME", nargs="+", default=[],
                        help="let these go wrong, before the upgrade or in it; `all`: all of the former, and the last of the latter")
    parser.add_argument("--nodes", type=int, choices=[2, 3], default=3)
    parser.add_argument("--workers", type=int, default=1, help="of the application on each node (default: 1)")
    parser.add_argument("--binaries", required=True, type=pathlib.Path, help="where sluice and sluice-agent are")
    parser.add_argument("--json", action="store_true", help="the claims as one JSON object")
    chosen = parser.parse_args()
    known = [*FAULTS[chosen.package], *MISHAPS[chosen.package], "all"]
    if not set(chosen.fail) <= set(known):
        parser.error("--fail knows %s" % ", ".join(known))
    return chosen


def upgraded(chosen, say):
    package, fleet_type = PACKAGES[chosen.package]
    known, mishaps, bundles = FAULTS[chosen.package], MISHAPS[chosen.package], None
    try:
        began = time.monotonic()
        bundles = make_bundles(package)
        made = time.monotonic()
        with fleet_type(chosen.binaries, package, bundles, nodes=chosen.nodes, workers=chosen.workers, fence=chosen.fence) as fleet:
            say("%d nodes on %s %s at %s (bundles %.1f s, fleet %.1f s)" % (
                len(fleet.nodes), package.name, package.old, fleet.balancer.url(), made - began, time.monotonic() - made))
            names = [*known, list(mishaps)[-1]] if "all" in chosen.fail else chosen.fail
            faults = [owner_level.NothingAccepted] if chosen.fence == "owner" else []
            faults += [known[name] for name in names if name in known]
            mishap = next((mishaps[name] for name in names if name in mishaps), Fault)
            return everything(fleet, [fault() for fault in faults], mishap(), say)
    finally:
        if bundles is not None:
            shutil.rmtree(bundles, ignore_errors=True)


def main():
    chosen = arguments()
    return ending.tell("demo-%s" % chosen.package, chosen.json, lambda say: upgraded(chosen, say))


if __name__ == "__main__":
    sys.exit(main())
