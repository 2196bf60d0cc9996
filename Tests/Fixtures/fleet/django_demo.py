# SPDX-License-Identifier: Apache-2.0
"""scripts/demo-django: upgrades a Django site under load and proves the figures."""

import argparse
import pathlib
import shutil
import subprocess
import sys
import time

import checker
import django_checker
import state
from checker import Claim
from django_faults import FAULTS
from django_site import SiteFleet, make_bundles
from fleet import interrupt_on_signals

def everything(fleet, faults, say):
    """Each failure and then the upgrade, which begins where the failures left the site. Visitors and jobs go on all the time."""
    checker.prepare_proof(fleet.postgres)
    fleet.start_clients()
    time.sleep(3)
    claims = []
    for fault in faults:
        claims += fail(fleet, fault, say)
    upgraded, lift_ended_at = upgrade(fleet, say)
    time.sleep(3)
    fleet.stop_clients()
    return [*claims, *upgraded, checker.reads(fleet.notes), django_checker.sessions(fleet.notes),
            *django_checker.writes(fleet.notes, fleet.postgres, fleet.directory / "media"),
            checker.refused(fleet.notes, "hold"), *django_checker.jobs(fleet.notes, fleet.postgres, lift_ended_at)]


def fail(fleet, fault, say):
    """It ends as it should, and everything is as it was."""
    say("\nInjected: %s" % fault.text)
    plan = fault.prepare(fleet)
    before = state.snapshot(fleet)
    code, run = fleet.apply(plan, say=say)
    fault.remove(fleet)
    after = state.snapshot(fleet)
    journal = fleet.journal(run) if run else None
    claims = [Claim(fault.text, "exit code %d, %s" % (code, journal.outcome() if journal else "no run"),
                    "exit code %s" % " or ".join(map(str, fault.codes)), code in fault.codes, journal.reasons() if journal else [])]
    claims += fault.claims(fleet, journal)
    changed = [line for lines in state.differences(before, after).values() for line in lines]
    claims.append(Claim("  schema, rights, ledger and nodes: lines that differ from before", str(len(changed)), "0",
                        not changed, changed))
    return claims


def upgrade(fleet, say):
    """v1 to v2. Returns the claims, and when the last gate was open again."""
    rights = state.rights(fleet.postgres)
    say("\nsluice apply")
    code, run = fleet.apply(fleet.variant("plan"), say=say)
    for line in fleet.operator("report", run)[1]:
        say("  " + line)
    journal = fleet.journal(run)
    wrong = ["%s: %s, %s" % (node.name, node.active_release(), node.running_applications()) for node in fleet.nodes
             if node.active_release() != "v2" or node.running_applications() != ["v2"] or not node.gate_is_open()]
    lost = set(rights.splitlines()) - set(state.rights(fleet.postgres).splitlines())
    claims = [Claim("the run is done", "exit code %d, %s" % (code, journal.outcome()), "0, done",
                    code == 0 and journal.outcome() == "done", journal.reasons()),
              Claim("nodes not on v2 alone with an open gate", str(len(wrong)), "0", not wrong, wrong),
              Claim("rights, roles and triggers changed by the fence", str(len(lost)), "0", not lost, sorted(lost)),
              django_checker.own_ledger(fleet.postgres, ["0001_initial", "0002_slug_and_loans"])]
    proof = journal.proof("v1", "v2")
    if proof is not None:
        claims.append(checker.commits_in_window(fleet.postgres, fleet.notes, proof))
        say("\nThe write window: %.0f ms, of them %.0f ms of migration; step by step:" % (
            journal.write_window() * 1000, journal.migration_time() * 1000))
        for step, seconds in journal.window_parts():
            say("  %-28s %6.0f ms" % (step, seconds * 1000))
    return claims, journal.write_window_ends()


def arguments():
    parser = argparse.ArgumentParser(prog="scripts/demo-django", description=__doc__)
    parser.add_argument("--fail", choices=[*FAULTS, "all"], help="before that, let this go wrong")
    parser.add_argument("--binaries", required=True, type=pathlib.Path, help="where sluice and sluice-agent are")
    parser.add_argument("--json", action="store_true", help="the claims as one JSON object")
    return parser.parse_args()


def main():
    chosen = arguments()
    interrupt_on_signals()

    def say(text=""):
        print(text, file=sys.stderr if chosen.json else sys.stdout, flush=True)

    bundles = None
    try:
        began = time.monotonic()
        bundles = make_bundles()
        made = time.monotonic()
        with SiteFleet(chosen.binaries, bundles) as fleet:
            say("%d nodes on v1 at %s (bundles %.1f s, fleet %.1f s)" % (
                len(fleet.nodes), fleet.balancer.url(), made - began, time.monotonic() - made))
            faults = list(FAULTS) if chosen.fail == "all" else [chosen.fail] if chosen.fail else []
            claims = everything(fleet, [FAULTS[name]() for name in faults], say)
    except KeyboardInterrupt:
        return 130
    except (RuntimeError, TimeoutError, OSError, subprocess.SubprocessError) as error:
        print("demo-django: %s" % error, file=sys.stderr)
        return 1
    finally:
        if bundles is not None:
            shutil.rmtree(bundles, ignore_errors=True)
    say()
    good = checker.print_table(claims, say)
    if chosen.json:
        checker.print_json(claims, good)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
