# SPDX-License-Identifier: Apache-2.0
"""What a run's journal says in figures: the phases, the write window, the proof of the census."""

import dataclasses
import json

from checker import Window


@dataclasses.dataclass
class Fact:
    """One stored event; `at` in seconds since 1970."""

    at: float
    type: str
    body: dict


class Journal:
    def __init__(self, entries, main="default"):
        self.facts = []
        # The database that is meant where none is named.
        self.main = main
        for entry in entries:
            body = json.loads(entry["body"]) if "body" in entry else entry["event"]
            self.facts.append(Fact(entry["at"] / 1000, body["type"], body))

    def steps(self):
        """Each step that began: direction, phase, name, when it began and when the next thing began."""
        began = [fact for fact in self.facts if fact.type in ("step-began", "ended", "stopped")]
        for fact, following in zip(began, began[1:] + [None]):
            if fact.type == "step-began":
                yield (fact.body["direction"], fact.body["phase"], fact.body["step"], fact.at,
                       following.at if following else self.facts[-1].at)

    def step(self, name, direction="forward"):
        """When a step began and ended, or nothing when it never began. A step that was tried again counts from its last."""
        found = [(began, ended) for way, _, step, began, ended in self.steps() if step == name and way == direction]
        return found[-1] if found else None

    def task(self, kind, database=None):
        """When a database task was started and ended well, and its report; of one database, where there are several."""
        started = ended = report = None
        for fact in self.facts:
            if fact.body.get("kind") != kind or fact.body.get("database", self.main) != (database or self.main):
                continue
            if fact.type == "database-task-started":
                started = fact.at
            if fact.type == "database-task-ended" and fact.body["result"] == "done":
                ended, report = fact.at, fact.body.get("report") or {}
        return (started, ended, report) if report is not None else None

    def outcome(self):
        ended = [fact.body["outcome"] for fact in self.facts if fact.type == "ended"]
        return ended[-1] if ended else "stopped" if self.facts and self.facts[-1].type == "stopped" else "open"

    def reasons(self):
        return [fact.body["reason"] for fact in self.facts if fact.type in ("turned-back", "stopped")]

    def write_window(self):
        """Seconds from the first gate that was told to close to the last that said that it is open; nothing without one."""
        closed = self.step("nodes:closed")
        opened = self.step("nodes:opened") or self.step("nodes:opened", "back")
        return opened[1] - closed[0] if closed and opened else None

    def write_window_ends(self):
        """When the last gate said that it is open, in seconds since 1970."""
        opened = self.step("nodes:opened") or self.step("nodes:opened", "back")
        return opened[1] if opened else 0.0

    def migration_time(self):
        """Seconds that the switch migrations took by the database task's own clock, and an application's tool by its node's, but for what
        it has only said that it would do."""
        task = self.task("migrate")
        tool = sum(fact.body.get("duration", 0) for fact in self.facts if fact.type == "tool-ended" and "preview" not in fact.body)
        return ((task[2].get("duration", 0) if task else 0) + tool) / 1000

    def window_parts(self):
        """Where the write window went: each step in it with its seconds."""
        closed, opened = self.step("nodes:closed"), self.step("nodes:opened")
        if not closed or not opened:
            return []
        return [(step, ended - began) for way, _, step, began, ended in self.steps()
                if way == "forward" and began >= closed[0] and ended <= opened[1]]

    def back_parts(self):
        """Where the time went from the decision to turn back to the last gate that was open: each step with its seconds."""
        decided = [fact.at for fact in self.facts if fact.type == "turned-back"]
        opened = self.step("nodes:opened", "back")
        if not decided or not opened:
            return []
        parts = [(step, began, ended) for way, _, step, began, ended in self.steps()
                 if way == "back" and began >= decided[-1] and ended <= opened[1]]
        first = [("what was under way", parts[0][1] - decided[-1])] if parts else []
        return first + [(step, ended - began) for step, began, ended in parts]

    def task_seconds(self, kind):
        """What a task of the database took by its own clock; nothing where it did not end well, or has no clock."""
        task = self.task(kind)
        return task[2]["duration"] / 1000 if task and "duration" in task[2] else None

    def proof(self, old_release, new_release):
        """The write window as the checker needs it; nothing when the run never got as far as the lift."""
        census, lift = self.task("census"), self.task("lowerFence")
        opened = self.step("nodes:opened")
        if not census or not lift or not opened:
            return None
        proof = census[2]["census"]
        return Window(
            old_release, new_release, int(proof["transaction"]), proof["fenceLSN"], lift[0], opened[1])
