# SPDX-License-Identifier: Apache-2.0
"""Does on a living fleet what the product advises, to the letter: every advice has to lead on.

    advice.py --binaries DIRECTORY [--json] [JOURNEY ...]

A run is made to wait; what `sluice status`, the watch and the report say has to be the same; a person puts right by hand what the
advice leaves to a person, and one of its commands is run as it stands there. So on until the run has ended.
"""

import argparse
import json
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import time

import checker
import connections
from checker import Claim
from faults import DONE, REFUSED, ROLLED_BACK, WAITING
from fleet import interrupt_on_signals
from node import GUESTBOOK
from postgres import MIGRATOR
from sluice import SluiceFleet
from tools import SECOND, FailsHalfway

MIGRATIONS = GUESTBOOK / "migrations"
REASON = "a test has put it right"
# Fails behind the fence only, since what fails already is refused before the window, and while somebody has a reason.
GUARD = ("\nSELECT 1 / (1 - (SELECT count(*) FROM pg_event_trigger WHERE evtname = 'sluice_fence')"
         " * (SELECT count(*) FROM public.obstacle WHERE what = '%s'));\n")


class Station:
    """Where a run waits, and how it is led on from there."""

    def __init__(self, because, command, by_hand=None):
        # Words of the reason; the beginning of the advised command; what is done before that.
        self.because, self.command, self.by_hand = because, command, by_hand


class Journey:
    """One run from its start to its end."""

    code = ROLLED_BACK

    def __init__(self, fleet):
        self.fleet = fleet

    def plan(self):
        """Makes something go wrong, and returns the plan."""
        raise NotImplementedError

    def stations(self):
        return []

    def variant(self, name, replace=(), append=""):
        quick = [("deadline: 30s", "deadline: 3s"), ("hold_for: 15s", "hold_for: 60s"), ("hold_for: 10s", "hold_for: 60s"),
                 ("on_failure: rollback", "on_failure: pause")]
        return self.fleet.variant(name, replace=[*quick, *replace], append=append)

    def touch(self, node, name):
        (self.fleet.nodes[node].faults / name).touch()

    def after(self, advice):
        """What is left to do once a run was refused; what is wrong with the advice, if anything."""

    def mend(self, node, name):
        return lambda: (self.fleet.nodes[node].faults / name).unlink()

    def as_migrator(self, statements):
        return lambda: self.fleet.postgres.query("SET search_path = public; " + statements, user=MIGRATOR)


class Files(Journey):
    """Migrations that fail for as long as a table says so, both ways."""

    def guarded(self):
        folder = self.fleet.plans / "guarded"
        if not folder.exists():
            shutil.copytree(MIGRATIONS, folder)
            for way in ("up", "down"):
                with open(folder / ("0003_split_author.%s.sql" % way), "a") as file:
                    file.write(GUARD % way)
            self.fleet.postgres.query(
                "CREATE TABLE public.obstacle (what text); ALTER TABLE public.obstacle OWNER TO guestbook_owner")
        self.fleet.postgres.query("DELETE FROM public.obstacle; INSERT INTO public.obstacle VALUES ('up')")
        return [(str(MIGRATIONS), str(folder))]

    def turn(self, way):
        """From now on the files fail the other way."""
        return "UPDATE public.obstacle SET what = '%s'; " % way

    def mended_file(self):
        """A down file that works, under the name of the one that does not, where the commands are given."""
        shutil.copy(MIGRATIONS / "0003_split_author.down.sql", self.fleet.directory)


class Mended(Files):
    """A release that does not start, a hook, a migration, a release that is not healthy, a down file, and a table that was left."""

    def plan(self):
        self.touch(1, "start-v2")
        self.touch(1, "smoke-test")
        self.touch(1, "health-v2")
        return self.variant("mended", replace=self.guarded(),
                            append="\nhooks:\n  - after: read-only\n    run: smoke-test\n    where: every-node\n")

    def leave_a_table(self):
        self.mend(1, "smoke-test")()
        self.fleet.postgres.query(
            "CREATE TABLE public.left_over (n int); ALTER TABLE public.left_over OWNER TO guestbook_owner")

    def stations(self):
        return [
            Station("start-app failed", "sluice retry", self.mend(1, "start-v2")),
            Station("smoke-test failed", "sluice retry", self.leave_a_table),
            Station("division by zero", "sluice retry", self.as_migrator(self.turn("down"))),
            Station("not reached within 3s", "sluice rollback", self.mend(1, "health-v2")),
            Station("division by zero", "sluice retry --down", self.mended_file),
            Station("left_over is new", "sluice resolve --accept-schema")]


class ByHand(Files):
    """The same migration is done by hand, and undone by hand."""

    def plan(self):
        self.fleet.postgres.query("DROP TABLE IF EXISTS public.left_over")
        self.touch(1, "health-v2")
        return self.variant("by-hand", replace=self.guarded())

    def stations(self):
        up, down = [(MIGRATIONS / ("0003_split_author.%s.sql" % way)).read_text() for way in ("up", "down")]
        return [
            Station("division by zero", "sluice resolve --done", self.as_migrator(self.turn("nothing") + up)),
            Station("not reached within 3s", "sluice rollback", self.as_migrator(self.turn("down"))),
            Station("division by zero", "sluice resolve --undone", self.as_migrator(down))]


class ToolJourney(Journey):
    """The application's own tool fails in its second migration, and the plan asks a person."""

    def plan(self):
        case = FailsHalfway()
        case.on_partly = "person"
        self.fleet.postgres.query("DROP TABLE IF EXISTS public.tool_migration")
        shutil.rmtree(self.fleet.plans / "files", ignore_errors=True)
        plan = case.prepare(self.fleet)
        self.touch(1, "health-v2")
        text = plan.read_text().replace("deadline: 30s", "deadline: 3s")
        plan.write_text(text)
        return plan


class ToolAgain(ToolJourney):
    """It is run again; then the new release is not healthy, and the tool's own way back undoes all."""

    def stations(self):
        return [Station("has done a part of its work", "sluice retry", self.mend(0, "fails-%s" % SECOND))]


class ToolBack(ToolJourney):
    """What it has done is undone by its own way back."""

    def stations(self):
        return [Station("has done a part of its work", "sluice rollback")]


class ToolWithoutWayBack(ToolJourney):
    """Nothing undoes what the tool has done: the database is put back by hand."""

    def plan(self):
        plan = super().plan()
        plan.write_text(plan.read_text().replace("    revert_with: migrate-back\n", ""))
        return plan

    def put_back(self):
        self.as_migrator("ALTER TABLE visit DROP COLUMN source;"
                         " DELETE FROM tool_migration WHERE name = '0002_source'")()

    def stations(self):
        return [Station("has done a part of its work", "sluice rollback"),
                Station("names no `revert_with`", "sluice retry", self.put_back)]


class Glass(Journey):
    """A gate that a person has opened keeps the fence up; this run ends done, and is the last."""

    code = DONE

    def plan(self):
        return self.variant("glass", append="\napprovals: [lift]\n")

    def stations(self):
        node = self.fleet.nodes[2]
        return [
            Station(None, "sluice approve", lambda: self.break_glass(node)),
            Station("opened by hand", "sluice retry", lambda: self.agent(node, "break-glass", "end"))]

    def break_glass(self, node):
        self.agent(node, "break-glass", "open", "--reason", REASON)

    def agent(self, node, *words):
        subprocess.run([self.fleet.binaries / "sluice-agent", *words, "--config", node.root / "etc" / "agent.yaml"],
                       check=True, stdout=subprocess.DEVNULL)


class Refused(Journey):
    """Nothing was touched: what is advised is done, and the plan is applied again, which is the next journey."""

    code = REFUSED

    def plan(self):
        self.fleet.postgres.query("ALTER ROLE guestbook_app CREATEROLE")
        return self.variant("refused")

    def after(self, advice):
        statement = re.search(r"ALTER ROLE \S+ NOCREATEROLE", advice)
        if statement is None:
            return "no statement in: %s" % advice
        self.fleet.postgres.query(statement.group())
        return None


JOURNEYS = {
    "refused": Refused, "mended": Mended, "by-hand": ByHand, "tool-again": ToolAgain, "tool-back": ToolBack,
    "tool-without-way-back": ToolWithoutWayBack, "glass": Glass}


class Person:
    """Reads what the commands say, and does it."""

    def __init__(self, fleet, say):
        self.fleet, self.say = fleet, say

    def run(self, *words):
        """A command of the operator, where files for it lie; its exit code and its text on one line."""
        self.say("  $ %s" % " ".join(map(str, words)))
        ended = subprocess.run(
            [self.fleet.binaries / words[0], *map(str, words[1:])], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, env=self.fleet.operator_environment(), cwd=self.fleet.directory, timeout=120)
        return ended.returncode, " ".join(ended.stdout.split())

    def newest(self):
        _, lines = self.fleet.operator("status", "--json")
        return json.loads(lines[0])["run"]

    def advice(self, run, watched):
        """What is advised now, and where it is not said."""
        _, lines = self.fleet.operator("status", run, "--json")
        view = json.loads(lines[0])
        advice = " ".join((view.get("advice") or "").split())
        places = {"status": self.run("sluice", "status", run)[1], "watch": watched,
                  "report": self.run("sluice", "report", run)[1]}
        silent = ["%s does not say: %s" % (place, advice) for place, text in places.items() if advice not in text]
        return view, advice, silent

    def travel(self, name, journey):
        self.say("\n%s: %s" % (name, journey.__doc__))
        for node in self.fleet.nodes:
            for fault in node.faults.iterdir():
                fault.unlink()
        code, watched = self.run("sluice", "apply", journey.plan(), "--yes", "--watch")
        run, claims = self.newest(), []
        for number, station in enumerate(journey.stations(), start=1):
            text = "%s, %d: what is advised leads on" % (name, number)
            if code != WAITING:
                return claims + [Claim(text, "exit code %d" % code, str(WAITING), False, [watched[-1500:]])]
            claim, code, watched = self.follow(text, station, run, watched)
            claims.append(claim)
            if not claim.holds:
                return claims
        wrong = []
        if journey.code == REFUSED:
            view, advice, wrong = self.advice(run, watched)
            wrong += [problem for problem in [journey.after(advice)] if problem]
        claims.append(Claim("%s: how it ended" % name, "exit code %d" % code, "exit code %d" % journey.code,
                            code == journey.code and not wrong, wrong or [watched[-1500:]]))
        return claims

    def follow(self, text, station, run, watched):
        view, advice, wrong = self.advice(run, watched)
        reason = view.get("reason") or ""
        self.say("  because: %s\n  next: %s" % (reason, advice))
        if station.because and station.because not in reason:
            wrong.append("because: %s" % reason)
        known = [command for command in re.findall(r"`(sluice [^`]*)`", advice)
                 if all(word in command.split() for word in station.command.split())]
        if not known:
            wrong.append("no command `%s` in: %s" % (station.command, advice))
        if wrong:
            return Claim(text, "its words", station.command, False, wrong), WAITING, watched
        if station.by_hand:
            station.by_hand()
        code, said = self.run(*[REASON if word == "TEXT" else word for word in shlex.split(known[0])])
        if code != 0:
            return Claim(text, "%s: exit code %d" % (known[0], code), "0", False, [said]), WAITING, watched
        code, watched = self.run("sluice", "status", run, "--watch")
        return Claim(text, known[0].replace(run, "RUN"), "accepted", True), code, watched


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binaries", required=True, type=pathlib.Path)
    parser.add_argument("--json", action="store_true", help="the claims as one JSON object")
    parser.add_argument("journeys", nargs="*", choices=["connections", *JOURNEYS, []], metavar="JOURNEY")
    chosen = parser.parse_args()
    interrupt_on_signals()

    def say(text=""):
        print(text, file=sys.stderr if chosen.json else sys.stdout, flush=True)

    claims, began = [], time.monotonic()
    try:
        with SluiceFleet(chosen.binaries.resolve(), entries=200) as fleet:
            names = chosen.journeys or ["connections", *JOURNEYS]
            if "connections" in names:
                claims += connections.claims(fleet, say)
            for name in (name for name in names if name in JOURNEYS):
                claims += Person(fleet, say).travel(name, JOURNEYS[name](fleet))
    except KeyboardInterrupt:
        return 130
    except (RuntimeError, TimeoutError, OSError, subprocess.SubprocessError) as error:
        print("advice: %s" % error, file=sys.stderr)
        return 1
    say("\n%.1f s" % (time.monotonic() - began))
    good = checker.print_table(claims, say)
    if chosen.json:
        checker.print_json(claims, good)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
