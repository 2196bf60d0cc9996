# SPDX-License-Identifier: Apache-2.0
"""The standby dies while the application's own tool migrates, and is started again: who reads where meanwhile, by the plan's rule."""

import json
import time

from checker import Claim, notes_of
from faults import ROLLED_BACK
from frozen import FROM_STANDBY
from frozen_checker import pages
from tools import SECOND, Tool

# How long it stays away once the run has seen that it is.
AWAY = 4.0


class LostAndHeld(Tool):
    """Reads wait on each node, and go on where they were."""

    text = "kill -9 of the standby while the tool migrates; reads are held until it is back"
    rule = "hold"
    killed = seen = back = 0.0

    def prepare(self, fleet):
        self.ask_for(fleet, "waits-%s" % SECOND)
        plan = super().prepare(fleet)
        text = plan.read_text()
        if FROM_STANDBY not in text:
            raise ValueError("the plan does not read from the standby")
        plan.write_text(text.replace(FROM_STANDBY, FROM_STANDBY + "  when_standby_is_lost: %s\n" % self.rule))
        return plan

    def on_fact(self, fleet, body):
        if body["type"] == "step-began" and body["step"] == "nodes:tool" and not self.killed:
            self.wait_for_it(fleet)
            self.killed = time.time()
            fleet.kill_server(fleet.standby)
        elif body["type"] == "standby-seen" and body["state"] == "silent" and not self.seen:
            self.seen = time.time()
            time.sleep(AWAY)
            self.back = time.time()
            fleet.start_server(fleet.standby)
        elif body["type"] == "standby-seen" and body["state"] == "frozen":
            time.sleep(1)
            self.release(fleet)

    def reads(self, directory):
        """They fail until somebody has seen it, and those that were in the application's hands then."""
        notes = notes_of(directory, "reader") + notes_of(directory, "tabs")
        failed = [note for note in notes if "problem" in note]
        others = [note for note in failed if not self.killed <= note["ended"] <= self.seen + 1]
        return Claim("reads failed but for the time until the run has seen it", "%d of %d (%d in those %.1f s)" % (
            len(others), len(notes), len(failed) - len(others), self.seen - self.killed), "0",
            not others and bool(self.seen), [json.dumps(note) for note in others[:10]])

    def meanwhile(self, fleet):
        """The servers that have answered the old release once the run had seen it, until the standby was started."""
        ports = {str(fleet.postgres.port): "P", str(fleet.standby.port): "S"}
        return {ports.get((note.get("database") or "").split(" ")[0]) for note in pages(fleet.notes)
                if note["status"] == 200 and note["release"] == "v1" and self.seen + 1 <= note["began"] and note["ended"] <= self.back}

    def claims(self, fleet, journal):
        note = self.faults(fleet) / "runs"
        runs = note.read_text().split() if note.exists() else []
        states = [fact.body["state"] for fact in journal.facts if fact.type == "standby-seen"]
        return [
            Claim("what the run has seen of the standby", " ".join(states), "silent frozen", states == ["silent", "frozen"]),
            Claim("what the tool was run for", " ".join(runs), "up", runs == ["up"]), *self.claims_of_readers(fleet)]

    def claims_of_readers(self, fleet):
        waited = [note for note in pages(fleet.notes)
                  if note["status"] == 200 and note["began"] < self.back <= note["ended"] and note["began"] > self.seen]
        found = self.meanwhile(fleet) - {None}
        return [Claim("servers that have answered readers meanwhile", " ".join(sorted(found)) or "none", "none", not found),
                Claim("reads that have waited for it and were answered", str(len(waited)), "> 0", bool(waited))]


class LostAndServed(LostAndHeld):
    """The old code survives what the tool has done so far; then the tool fails, and the standby, which is back, is the way back."""

    text = "kill -9 of the standby while the tool migrates; the primary serves reads, the standby comes back, and then the tool fails"
    rule = "serve"
    on_partly = "back"
    codes = (ROLLED_BACK,)

    def prepare(self, fleet):
        self.ask_for(fleet, "fails-%s" % SECOND)
        return super().prepare(fleet)

    def claims_of_readers(self, fleet):
        found = self.meanwhile(fleet) - {None}
        return [Claim("servers that have answered readers meanwhile", " ".join(sorted(found)) or "none", "P", found == {"P"})]


CASES = {"hold": LostAndHeld, "serve": LostAndServed}
