# SPDX-License-Identifier: Apache-2.0
"""scripts/demo: upgrades a real fleet under load, proves the figures, and fails when one of them is not met."""

import argparse
import pathlib
import statistics
import sys
import time

import cached
import checker
import databases
import ending
import faults
import frozen_demo
import frozen_every
import frozen_faults
import frozen_lost
import proxies
import owner_level
import state
import tools
from checker import Claim
from processes import wait_until
from sluice import SluiceFleet
from versions import VersionFleet

WINDOW_TARGET_MS = 75
# Beyond the migration and the slowest start, where the release starts after the migration.
START_TARGET_MS = 1000
MEMORY_TARGET_MB = 10
IDLE_TARGET_PERCENT = 1.0


class Demo:
    def __init__(self, arguments, say):
        """`say` prints a line."""
        self.arguments, self.say = arguments, say
        self.binaries = arguments.binaries

    def fleet(self):
        started = time.monotonic()
        kind = VersionFleet if self.arguments.by == "actions" else SluiceFleet
        if self.arguments.caches:
            kind = cached.CachedFleet
        fleet = proxies.behind(kind, self.arguments.proxy)(self.binaries, entries=self.arguments.entries, keep=self.arguments.keep,
                            strict=self.arguments.start == "after-migration", script=self.has_open_tabs(),
                            fence=self.arguments.fence, pooler=self.arguments.pooler)
        closing = self.closing(fleet)
        self.say("%d nodes on v1 at %s, coordinator at %s, everything below %s (%.1f s)" % (
            len(fleet.nodes), fleet.balancer.url(), fleet.coordinator_url, fleet.directory,
            time.monotonic() - started))
        return closing

    def closing(self, fleet):
        """Starts a fleet, and ends it with the `with` that this is for."""
        fleet.__enter__()
        return Closing(fleet)

    def has_open_tabs(self):
        """Whether somebody has pages open that carry the browser script. Releases that are versions have none here."""
        return self.arguments.browser and self.arguments.by == "bundle"

    # The main job

    def upgrade(self, policy="hold"):
        with self.fleet() as fleet:
            weighed = None if self.arguments.unweighed else fleet.agents_figures(seconds=4)
            checker.prepare_proof(fleet.postgres)
            before = state.snapshot(fleet)
            fleet.start_clients()
            if self.arguments.browser:
                fleet.start_browser()
            if self.has_open_tabs():
                fleet.start_open_tabs()
            time.sleep(4)
            if self.arguments.caches:
                cached.wait_for_use(fleet.notes)
            plan = self.first_plan(fleet, policy)
            self.say("\nsluice apply %s" % plan)
            code, run = fleet.apply(plan, say=self.say)
            time.sleep(4)
            if self.arguments.caches and code == 0:
                cached.wait_for_use(fleet.notes)
            fleet.stop_clients()
            page = self.report(fleet, run)

            journal = fleet.journal(run)
            claims = [Claim("the run is done", "exit code %d, %s" % (code, journal.outcome()), "0, done",
                            code == 0 and journal.outcome() == "done", journal.reasons())]
            claims += self.claims_of_clients(fleet, policy)
            window = journal.proof("v1", "v2")
            if window is not None:
                claims += [
                    checker.commits_in_window(fleet.postgres, fleet.notes, window),
                    checker.old_assets(fleet.notes, window),
                    *(cached.old_pages(fleet.notes, window) if self.arguments.caches else
                      [checker.stale_pages(fleet.notes, window)])]
            if self.arguments.browser:
                claims += [checker.browser(fleet.notes, "v1", "v2"), checker.report_page(page)]
            claims += self.claims_of_new_state(fleet, before)
            if self.arguments.fence == "owner":
                claims += owner_level.claims(journal, plan.read_text())
            if fleet.pooler:
                claims += fleet.pooler.claims(journal)
            if self.has_open_tabs():
                claims += self.open_tabs(fleet, journal, policy)
            if weighed:
                claims += self.claims_of_agents(fleet, *weighed)
            self.window_parts(journal)
            if fleet.strict:
                claims.append(self.started(fleet))
                self.say("  of that the starts of v2: %s ms" % ", ".join(
                    "%.0f" % (seconds * 1000) for seconds in self.starts(fleet)))
            return claims

    def first_plan(self, fleet, policy):
        replace = REFUSE if policy == "refuse" else []
        if self.has_open_tabs():
            # A page that is opened in the window is told of it there, however fast the window is.
            return fleet.variant("open-tabs", replace=replace, append=WAIT_FOR_LATE)
        return fleet.variant("refuse", replace=replace) if replace else fleet.plan()

    def open_tabs(self, fleet, journal, policy):
        """The next upgrade, of which only the pages that are open still hear; then what they saw of both."""
        self.wait_for_pages(fleet, "v2")
        replace = REFUSE if policy == "refuse" else []
        code, run = fleet.apply(fleet.next_plan(replace), say=lambda text: None)
        if code == 0:
            self.wait_for_pages(fleet, "v3")
        fleet.stop_open_tabs()
        return [Claim("the run after it, to v3, is done", "exit code %d" % code, "0", code == 0,
                      fleet.journal(run).reasons() if run else []),
                *checker.open_tabs(fleet.notes, fleet.postgres, [journal, fleet.journal(run)])]

    def wait_for_pages(self, fleet, release):
        try:
            wait_until("open pages are renewed to %s" % release, lambda: checker.renewed(fleet.notes, release))
        except TimeoutError as error:
            raise TimeoutError("%s; they said:\n%s" % (error, fleet.open_tabs_said()[-3000:])) from None

    def claims_of_agents(self, fleet, memory, idle):
        own, resident = max(memory, fleet.agents_figures(seconds=0.1)[0])
        return [
            Claim("agent: memory of its own", "%.1f MB (resident with cached pages of programs: %.1f)" % (own, resident),
                  "<= %d MB" % MEMORY_TARGET_MB, own <= MEMORY_TARGET_MB),
            Claim("agent: processor when idle", "%.2f %%" % idle, "about 0 %", idle <= IDLE_TARGET_PERCENT)]

    def claims_of_clients(self, fleet, policy="hold", primary=None):
        """`primary`: the server that has the writes in the end, where it is another one."""
        return [checker.reads(fleet.notes), *checker.writes(fleet.notes, primary or fleet.postgres),
                checker.refused(fleet.notes, policy)]

    def claims_of_new_state(self, fleet, before):
        """Every node serves v2 and nothing else, gates are open, the fence has left nothing behind."""
        wrong = []
        for node in fleet.nodes:
            status, headers, _ = node.get("/healthz")
            if (node.active_release(), headers.get("X-Release"), status) != ("v2", "v2", 200) or not node.gate_is_open():
                wrong.append("%s: current %s, answers %s as %s, gate %s" % (
                    node.name, node.active_release(), status, headers.get("X-Release"),
                    "open" if node.gate_is_open() else "closed"))
            if node.running_applications() != ["v2"]:
                wrong.append("%s: still runs %s" % (node.name, node.running_applications()))
        rights = state.differences({"rights": before["rights"]}, {"rights": state.rights(fleet.postgres)})
        return [
            Claim("nodes not on v2 alone with an open gate", str(len(wrong)), "0", not wrong, wrong),
            Claim("rights, roles and triggers changed by the fence", str(len(rights.get("rights", []))), "0", not rights,
                  rights.get("rights", []))]

    def starts(self, fleet):
        """Seconds that the start of v2 took, on each node where it was started."""
        return [seconds for seconds in [node.start_took("v2") for node in fleet.nodes] if seconds is not None]

    def started(self, fleet):
        count = len(self.starts(fleet))
        return Claim("nodes where v2 was started by its action", str(count), str(len(fleet.nodes)), count == len(fleet.nodes))

    def report(self, fleet, run):
        _, lines = fleet.operator("report", run)
        self.say()
        for line in lines:
            self.say("  " + line)
        page = self.arguments.html or fleet.directory / "report.html"
        fleet.operator("report", run, "--html", page)
        if self.arguments.html:
            self.say("  the same as a page: %s" % page)
        return page

    def window_parts(self, journal):
        window = journal.write_window()
        if window is None:
            return
        self.say("\nThe write window: %.0f ms, of them %.0f ms of migration; step by step:" % (
            window * 1000, journal.migration_time() * 1000))
        for step, seconds in journal.window_parts():
            self.say("  %-28s %6.0f ms" % (step, seconds * 1000))

    # Failures

    def fail(self, fault):
        with self.fleet() as fleet:
            checker.prepare_proof(fleet.postgres)
            self.say("Injected: %s" % fault.text)
            plan = fault.prepare(fleet)
            before = state.snapshot(fleet)
            fleet.start_clients()
            time.sleep(2)
            self.say("\nsluice apply %s" % plan)
            code, run = fleet.apply(plan, on_fact=lambda body: fault.on_fact(fleet, body), say=self.say)
            time.sleep(2)
            fleet.stop_clients()
            after = state.snapshot(fleet)
            fault.remove(fleet)

            journal = fleet.journal(run) if run else None
            outcome = journal.outcome() if journal else "no run"
            claims = [Claim("%s: how it ended" % fault.phase, "exit code %d, %s" % (code, outcome),
                            "exit code %s" % " or ".join(map(str, fault.codes)), code in fault.codes,
                            journal.reasons() if journal else [])]
            claims += self.claims_of_clients(fleet, fault.writes)
            if code in (faults.DONE, faults.WAITING, faults.LEFT_OUT):
                window = journal.proof("v1", "v2")
                if window is not None:
                    claims.append(checker.commits_in_window(fleet.postgres, fleet.notes, window, fault.ledger()))
                if code in (faults.DONE, faults.LEFT_OUT):
                    claims += self.claims_of_new_state(fleet, before)
            else:
                for part, lines in sorted({**dict.fromkeys(before, []), **state.differences(before, after)}.items()):
                    claims.append(Claim("%s: lines that differ from before" % part, str(len(lines)), "0", not lines, lines))
            claims += fault.claims(fleet, journal)
            if fault.ledger() and journal:
                self.window_parts(journal)
            return claims

    # The write window, many times

    def windows(self, runs):
        """Each run on a fleet of its own, so that each begins from the same state."""
        figures, claims = [], []
        for number in range(1, runs + 1):
            with self.fleet() as fleet:
                fleet.start_clients(stragglers=False)
                time.sleep(1.5)
                code, run = fleet.apply(fleet.plan(), say=lambda text: None)
                time.sleep(1)
                fleet.stop_clients()
                journal = fleet.journal(run)
                if code != 0 or journal.write_window() is None:
                    return [Claim("run %d is done" % number, "exit code %d" % code, "0", False, journal.reasons())]
                window, migration = journal.write_window() * 1000, journal.migration_time() * 1000
                start = max(self.starts(fleet)) * 1000 if fleet.strict else 0
                figures.append(window - migration - start)
                self.say("run %2d: write window %.0f ms, migration %.0f ms, slowest start in it %.0f ms, the difference %.0f ms: %s" % (
                    number, window, migration, start, window - migration - start, ", ".join(
                        "%s %.0f" % (step, seconds * 1000) for step, seconds in journal.window_parts())))
                claims = merge(claims, [
                    claim for claim in self.claims_of_clients(fleet)])
        median, largest = statistics.median(figures), max(figures)
        is_strict = self.arguments.start == "after-migration"
        target = START_TARGET_MS if is_strict else WINDOW_TARGET_MS
        return [
            Claim("write window minus migration%s, %d runs" % (" and slowest start" if is_strict else "", runs),
                  "median %.0f ms, maximum %.0f ms" % (median, largest), "<= %d ms" % target, median <= target,
                  is_speed=True)] + claims


def merge(earlier, later):
    """The same claims over several runs: those that fell stay, the last figures stand for the others."""
    fallen = {claim.text: claim for claim in earlier if not claim.holds}
    return [fallen.get(claim.text, claim) for claim in later]


# The demo's plan with writes refused instead of held.
REFUSE = [("  admission: hold\n  hold_for: 15s\n  hold_at_most: 1000\n", "  admission: refuse\n")]


WAIT_FOR_LATE = "\nhooks:\n  - {before: lift, run: wait-for-late}\n"


class Closing:
    """Ends the fleet in the end, whatever happened; with --keep says what still runs instead."""

    def __init__(self, fleet):
        self._fleet = fleet

    def __enter__(self):
        return self._fleet

    def __exit__(self, *_):
        if self._fleet.keep:
            print("\nStill running, until Ctrl-C:\n  export SLUICE_COORDINATOR=%s SLUICE_TOKEN=%s\n  %s" % (
                self._fleet.coordinator_url, self._fleet.operator_token, self._fleet.balancer.url()), flush=True)
            self._fleet.keep = False
            try:
                while True:
                    time.sleep(3600)
            except KeyboardInterrupt:
                pass
        self._fleet.stop()


def arguments():
    parser = argparse.ArgumentParser(prog="scripts/demo", description=__doc__)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--fail", choices=faults.PHASES + frozen_faults.FAILURES, metavar="PHASE",
                      help="inject a failure there and show the way back; with --frozen also migrated, canary, or every one of them")
    what.add_argument("--kill", choices=faults.VICTIMS + frozen_faults.SERVERS + ["every"],
                      help="kill -9 it, in the phase of --in; with --frozen also servers, the standby's receiver, and every one of them")
    what.add_argument("--tool", choices=sorted(tools.CASES), metavar="CASE",
                      help="the application's own tool migrates: %s" % ", ".join(sorted(tools.CASES)))
    what.add_argument("--databases", choices=sorted(databases.CASES), metavar="CASE",
                      help="two databases in one plan: %s" % ", ".join(sorted(databases.CASES)))
    what.add_argument("--runs", type=int, metavar="N", help="measure the write window N times")
    what.add_argument("--refuse", action="store_true", help="refuse writes in the window instead of holding them")
    parser.add_argument("--frozen", action="store_true",
                        help="a standby, from which the old release reads while the primary is migrated")
    parser.add_argument("--repoint", choices=["pgbouncer"],
                        help="with --frozen: versions, each application runs once, and the node's pgbouncer leads it to the standby")
    what.add_argument("--lost", choices=sorted(frozen_lost.CASES),
                      help="with --frozen: the standby dies while a tool migrates, and the plan's when_standby_is_lost says so")
    what.add_argument("--compare", action="store_true", help="with --frozen: the same plan with reads held beside it")
    parser.add_argument("--before", type=float, metavar="SECONDS", default=4.0,
                        help="with --frozen: how long reads are measured before the run (default: 4)")
    parser.add_argument("--reads", type=int, metavar="N", default=0, help="with --frozen: read until it is so many (default: 0)")
    parser.add_argument("--rate", type=float, metavar="N", default=60.0, help="with --frozen: pages a second (default: 60)")
    parser.add_argument("--patroni", action="store_true", help="with --frozen: Patroni looks after both servers")
    parser.add_argument("--again", action="store_true",
                        help="with --frozen --fail: after a promotion do what the page says, and run the upgrade again")
    parser.add_argument("--in", dest="phase", metavar="PHASE",
                        help="with --frozen also a step, such as database:freezeStandby or back:database:promoteStandby, or every one"
                             " (default: migrate; of --kill every: every)")
    parser.add_argument("--after", type=float, metavar="SECONDS", default=0.0, help="how long after that phase began to kill (default: 0)")
    parser.add_argument("--away", type=float, metavar="SECONDS", default=0.5, help="how long until it is started again (default: 0.5)")
    parser.add_argument("--start", choices=["warm", "after-migration"], default="warm",
                        help="after-migration: v2 refuses to start on the old schema, and starts in the window (default: warm)")
    parser.add_argument("--by", choices=["bundle", "actions"], default="bundle",
                        help="actions: versions that the nodes' own actions fetch and switch (default: bundle)")
    parser.add_argument("--fence", choices=["complete", "owner"], default="complete",
                        help="owner: the migrator is no superuser, as on managed servers (default: complete)")
    parser.add_argument("--proxy", choices=["nginx", *sorted(proxies.PROXIES)], default="nginx",
                        help="what stands in front of the application on each node (default: nginx)")
    parser.add_argument("--caches", action="store_true",
                        help="Varnish in front of all nodes, Redis and memcached behind the application")
    parser.add_argument("--pooler", action="store_true",
                        help="pgbouncer between the application and PostgreSQL, with transaction pooling")
    parser.add_argument("--browser", action="store_true", help="Chromium reads and writes as well, and shows the run's report")
    parser.add_argument("--keep", action="store_true", help="leave everything running afterwards, until Ctrl-C")
    parser.add_argument("--unweighed", action="store_true",
                        help="without the agents' memory and processor, to which a build without optimization is not held")
    parser.add_argument("--json", action="store_true", help="the claims as one JSON object")
    parser.add_argument("--html", metavar="FILE", type=pathlib.Path, help="also write the run's report there")
    parser.add_argument("--entries", type=int, default=2000, help="rows in the guestbook (default: 2000)")
    parser.add_argument("--binaries", required=True, type=pathlib.Path, help="where sluice and sluice-agent are")
    chosen = parser.parse_args()
    chosen.phase = chosen.phase or ("every" if chosen.kill == "every" else "migrate")
    of_standby = (chosen.compare or chosen.lost or chosen.patroni or chosen.repoint or chosen.kill in [*frozen_faults.SERVERS, "every"]
                  or chosen.fail in frozen_faults.FAILURES)
    if not chosen.frozen and (of_standby or chosen.phase not in faults.PHASES):
        parser.error("only a fleet with --frozen has a standby")
    if not frozen_faults.is_place(chosen.phase):
        parser.error("--in: neither a phase nor a step")
    if chosen.kill == "migration" and chosen.phase not in faults.PHASES:
        parser.error("--kill migration: --in a phase")
    if (chosen.proxy != "nginx") + chosen.caches + (chosen.by == "actions") > 1 or chosen.caches and chosen.browser:
        parser.error("--proxy, --caches and --by actions exclude one another, and so do --caches and --browser")
    return chosen


def chosen_claims(demo, chosen):
    if chosen.frozen:
        return frozen_claims(demo, chosen)
    if chosen.fail:
        return demo.fail(faults.failing(chosen.fail, chosen.start))
    if chosen.kill:
        return demo.fail(faults.killing(chosen.kill, chosen.phase, chosen.after, chosen.away))
    if chosen.tool:
        return demo.fail(tools.CASES[chosen.tool]())
    if chosen.databases:
        return demo.fail(databases.CASES[chosen.databases]())
    if chosen.runs:
        return demo.windows(chosen.runs)
    return demo.upgrade("refuse" if chosen.refuse else "hold")


def frozen_claims(demo, chosen):
    fleet = frozen_demo.FrozenDemo(demo)
    if chosen.fail == "every":
        return fleet.fail_everywhere(frozen_faults.failures())
    if chosen.fail:
        return fleet.fail(frozen_faults.failing_at(chosen.fail, chosen.start))
    if chosen.lost:
        return fleet.fail(frozen_lost.CASES[chosen.lost]())
    if chosen.tool:
        return fleet.upgrade(tools.CASES[chosen.tool]())
    if chosen.kill and "every" in (chosen.kill, chosen.phase):
        return frozen_every.kill_each(fleet, frozen_faults.pairs(chosen.kill, chosen.phase))
    if chosen.kill:
        return fleet.fail(frozen_faults.killing(chosen.kill, chosen.phase, chosen.after, chosen.away))
    return fleet.compare() if chosen.compare else fleet.upgrade()


def main():
    chosen = arguments()
    return ending.tell("demo", chosen.json, lambda say: chosen_claims(Demo(chosen, say), chosen))


if __name__ == "__main__":
    sys.exit(main())
