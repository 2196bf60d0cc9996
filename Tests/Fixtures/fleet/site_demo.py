# SPDX-License-Identifier: Apache-2.0
"""scripts/demo-django: upgrades a site that is not the guestbook under load and proves the figures."""

import argparse
import pathlib
import shutil
import sys
import time

import checker
import ending
import owner_level
import pooler
import site_checker
import site_figures
import state
from checker import Claim
from faults import Fault
from site_applications import SITES, make_bundles
from site_faults import FAULTS, MISHAPS
from sites import SiteFleet


def everything(fleet, faults, mishap, say, figures=False):
    """Each failure and then the upgrade, which begins where the failures left the site. Visitors and jobs go on all the time."""
    checker.prepare_proof(fleet.postgres)
    fleet.start_clients()
    time.sleep(3)
    claims = []
    if faults and fleet.site.shows_mode and not fleet.holds_sessions:
        fleet.look_behind_the_fence()
    for fault in faults:
        claims += fail(fleet, fault, say)
    if fleet.script:
        fleet.start_tabs()
    upgraded, journal = upgrade(fleet, mishap, say, figures)
    lift_ended_at = journal.write_window_ends()
    time.sleep(3)
    fleet.stop_clients()
    if fleet.script:
        upgraded += open_tabs(fleet, journal)
    return [*claims, *upgraded, checker.reads(fleet.notes), site_checker.sessions(fleet.notes),
            site_checker.errors(fleet.notes),
            *(site_checker.mode(fleet.notes, fleet.seen_page()) if fleet.site.shows_mode else []),
            *site_checker.writes(fleet.notes, fleet.postgres, fleet.directory / "media", fleet.site.table),
            checker.refused(fleet.notes, mishap.writes),
            *([site_checker.images(fleet.notes, fleet.postgres, fleet.directory / "media")] if fleet.site.has_editors else []),
            *([site_checker.cron(fleet.notes)] if fleet.site.has_cron else []),
            *(site_checker.jobs(fleet.postgres, fleet.site.queue, lift_ended_at) if fleet.site.queue else [])]


def open_tabs(fleet, journal):
    """The next upgrade, of which only the pages that are open still hear; then what they saw of both."""
    fleet.wait_for_tab("v2")
    code, run = fleet.apply(fleet.next_plan(), say=lambda text: None)
    if code == 0:
        fleet.wait_for_tab("v3")
    fleet.stop_tabs()
    following = fleet.journal(run)
    return [Claim("the run after it, to v3, is done", "exit code %d" % code, "0", code == 0, following.reasons()),
            *site_checker.tabs(fleet.notes, fleet.postgres, fleet.site.table, [journal, following])]


def fail(fleet, fault, say):
    """It ends as it should, and everything is as it was."""
    say("\nInjected: %s" % fault.text)
    plan = fault.prepare(fleet)
    before = state.snapshot(fleet)
    code, run = fleet.apply(plan, say=say)
    led_out = fault.lead_out(fleet, run)
    fault.remove(fleet)
    after = state.snapshot(fleet)
    journal = fleet.journal(run) if run else None
    claims = [Claim(fault.text, "exit code %d, %s" % (code, journal.outcome() if journal else "no run"),
                    "exit code %s" % " or ".join(map(str, fault.codes)), code in fault.codes, journal.reasons() if journal else [])]
    claims += led_out + fault.claims(fleet, journal)
    changed = [line for lines in state.differences(before, after).values() for line in lines]
    claims.append(Claim("  schema, rights, ledger and nodes: lines that differ from before", str(len(changed)), "0",
                        not changed, changed))
    return claims


def upgrade(fleet, mishap, say, figures):
    """v1 to v2, whatever happens on the way. Returns the claims, and the run's journal."""
    rights, said = state.rights(fleet.postgres), set(fleet.outputs_of_tool())
    say("\nsluice apply; on the way goes wrong: %s" % mishap.text)
    plan = mishap.prepare(fleet)
    own = site_figures.own_start(fleet) if figures and fleet.tool else None
    code, run = fleet.apply(plan, on_fact=lambda body: mishap.on_fact(fleet, body), say=say)
    mishap.remove(fleet)
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
              site_checker.own_ledger(fleet.postgres, fleet.site, fleet.site.after)]
    if fleet.postgres.fence == "owner":
        claims += owner_level.claims(journal, plan.read_text())
    if fleet.pooler:
        claims += fleet.pooler.claims(journal)
    if fleet.tool and mishap.tool_runs_once:
        claims.append(site_checker.tool_runs(journal, [path for path in fleet.outputs_of_tool() if path not in said]))
    proof = journal.proof("v1", "v2")
    if proof is not None:
        # A tool writes besides its ledger what belongs to its migrations: Django the rights of new tables, after them.
        if not fleet.tool:
            claims.append(checker.commits_in_window(fleet.postgres, fleet.notes, proof))
        say("\nThe write window: %.0f ms, of them %.0f ms of migration; step by step:" % (
            journal.write_window() * 1000, journal.migration_time() * 1000))
        for step, seconds in journal.window_parts():
            say("  %-28s %6.0f ms" % (step, seconds * 1000))
        for line in site_figures.lines(fleet, journal, own) if figures else []:
            say(line)
    return claims, journal


def arguments():
    parser = argparse.ArgumentParser(prog="scripts/demo-django", description=__doc__)
    parser.add_argument("--site", choices=sorted(SITES), default="django", help="which (default: django)")
    parser.add_argument("--tool", action="store_true", help="the site's own tool migrates, and not SQL files")
    parser.add_argument("--fence", choices=["complete", "owner"], default="complete",
                        help="owner: the migrator is no superuser, as on managed servers (default: complete)")
    parser.add_argument("--pooler", action="store_true", help="pgbouncer between the application and PostgreSQL, with transaction pooling")
    parser.add_argument("--browser", action="store_true", help="somebody has pages open in Chromium that carry the browser script (Django)")
    parser.add_argument("--fail", metavar="NAME", help="before that, let this go wrong; `all`: what needs no calm machine")
    parser.add_argument("--figures", action="store_true", help="also say where the write window went, and what the tool's own start costs")
    parser.add_argument("--binaries", required=True, type=pathlib.Path, help="where sluice and sluice-agent are")
    parser.add_argument("--json", action="store_true", help="the claims as one JSON object")
    return parser.parse_args()


def upgraded_site(chosen, known, say):
    """A fleet with the site, from the bundles on."""
    site, bundles = SITES[chosen.site], None
    try:
        began = time.monotonic()
        bundles = make_bundles(site)
        made = time.monotonic()
        with SiteFleet(chosen.binaries, site, bundles, tool=chosen.tool, fence=chosen.fence,
                       pooler=chosen.pooler, script=chosen.browser) as fleet:
            say("%d nodes on v1 at %s (bundles %.1f s, fleet %.1f s)" % (
                len(fleet.nodes), fleet.balancer.url(), made - began, time.monotonic() - made))
            certain = [fault for fault in known.values() if not fault.needs_calm]
            faults = certain if chosen.fail == "all" else [known[chosen.fail]] if chosen.fail else []
            mishap = MISHAPS.get((chosen.site, fleet.tool), Fault) if faults else Fault
            if chosen.fence == "owner":
                faults = [owner_level.NothingAccepted, *faults]
            if chosen.pooler:
                faults = [pooler.AddressOfThePooler, *faults]
            return everything(fleet, [fault() for fault in faults], mishap(), say, chosen.figures)
    finally:
        if bundles is not None:
            shutil.rmtree(bundles, ignore_errors=True)


def main():
    chosen = arguments()
    known = FAULTS.get((chosen.site, chosen.tool or not SITES[chosen.site].has_files), {})
    if chosen.fail not in (None, "all", *known):
        print("demo-django: --fail knows %s" % ", ".join([*known, "all"]), file=sys.stderr)
        return 2
    if chosen.browser and chosen.site != "django":
        print("demo-django: --browser knows the pages of the Django site", file=sys.stderr)
        return 2
    return ending.tell("demo-django", chosen.json, lambda say: upgraded_site(chosen, known, say))


if __name__ == "__main__":
    sys.exit(main())
