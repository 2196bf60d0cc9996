# SPDX-License-Identifier: Apache-2.0
"""What can go wrong with two servers: one of them, or whoever works with them, is killed at the beginning of a step or some time after it.

A place is a phase or a step by its stored word (`drain`, `database:freezeStandby`); `back:` before it means the way back: by promotion, for
which the new release is made unhealthy, or, where the step is of no other, to the primary, for which a hook fails before the migration. `each` and
`back:each` are one step after the other of one run, as often as its events come in time.
"""

import statistics
import time

import frozen_checker
from checker import Claim
from faults import DONE, LEASE, PHASES, ROLLED_BACK, Fault, HookFault, Kill, SlowMigrationKill, UnhealthyRelease, failing

SERVERS = ["standby", "primary", "receiver", "leader"]
BACK = "back:"
EACH = "each"

# Those that have no phase of their own: what fails once the schema is another one, besides `rollout` and `verify`.
FAILURES = ["migrated", "canary", "every"]

# Whoever is killed in `--kill every`, and where.
EVERYBODY = ["coordinator", "agent", *SERVERS]
EVERYWHERE = [
    "nodes:reader", "database:census", "database:freezeStandby", "nodes:standby-served", "database:migrate", "nodes:upgraded:0",
    "nodes:upgraded:1", "nodes:verified", "nodes:silenced", "database:lowerFence", "nodes:opened", "nodes:reader-ended",
    "database:feedStandby", "back:database:promoteBehindFence", "back:nodes:reactivated", "back:database:promoteStandby",
    "back:nodes:opened", "back:nodes:old-ended", "back:database:lowerFence", "back:database:feedStandby"]

# Where there is Patroni: only its leader is killed there.
MANAGED = ["database:pauseManager", "database:resumeManager", "back:database:resumeManager"]

# Steps of the way back to the primary alone.
TO_PRIMARY = ["database:lowerFence", "nodes:reader-drained", "nodes:reader-ended", "database:feedStandby"]


def is_at(body, place):
    """Whether a stored event is the beginning of that place."""
    direction = "back" if place.startswith(BACK) else "forward"
    if body["type"] != "step-began" or body["direction"] != direction:
        return False
    step = (BACK if direction == "back" else "") + body["step"]
    return step in EVERYWHERE if is_each(place) else place.removeprefix(BACK) in (body["phase"], body["step"])


def is_each(place):
    return place.removeprefix(BACK) == EACH


class KilledAt(Fault):
    """kill -9, and started again as a service manager would. The receiver is a connection: its sender on the primary is ended. The leader
    is Patroni's, and the primary with it."""

    def __init__(self, victim, place, after=0.0, away=1.0):
        super().__init__(place)
        self.victim, self.place, self.after, self.away = victim, place, after, away
        self.text = "kill -9 of the %s in %s" % (victim, place)
        # The writes that a killed agent held are refused politely: nginx finds the flag and answers in its place.
        self.writes = "either" if victim == "agent" or away > LEASE else "hold"
        self.codes = self.endings()
        # While one of the servers is away nobody else knows what became of what it was told.
        self.may_ask = victim in ("standby", "primary", "leader")
        self.is_managed = victim == "leader"
        self.turn = None
        # From when to when it was away, each time.
        self.times = []
        # The port of a server that was away.
        self.port = None

    def endings(self):
        """Nobody is asked in the end. Whoever only drives the run, or holds writes, is waited for: it ends as it would have."""
        if self.place.startswith(BACK):
            return (ROLLED_BACK,)
        return (DONE,) if self.victim in ("coordinator", "agent") and self.away <= LEASE else (DONE, ROLLED_BACK)

    def prepare(self, fleet):
        if not self.place.startswith(BACK):
            return fleet.variant("lease", append="\nlease: %ds\n" % LEASE) if self.away > LEASE else fleet.variant("plan")
        is_to_primary = self.place.removeprefix(BACK) in TO_PRIMARY
        self.turn = HookFault("drain") if is_to_primary else UnhealthyRelease("rollout", "web-2 is unhealthy on v2", 1, "health-v2")
        return self.turn.prepare(fleet)

    def remove(self, fleet):
        if self.turn is not None:
            self.turn.remove(fleet)

    def on_fact(self, fleet, body):
        if self.times and not is_each(self.place) or not is_at(body, self.place):
            return
        time.sleep(self.after)
        began = time.time()
        self.kill(fleet)
        self.times.append((began, time.time()))

    def kill(self, fleet):
        if self.victim == "receiver":
            fleet.postgres.query("SELECT pg_terminate_backend(pid) FROM pg_stat_replication")
            return
        node = fleet.nodes[1]
        server = fleet.standby if self.victim == "standby" else fleet.postgres
        if self.victim in ("standby", "primary", "leader"):
            self.port = server.port
        kill, start = {
            "coordinator": (fleet.kill_coordinator, fleet.start_coordinator),
            "agent": (lambda: fleet.kill_agent(node), lambda: fleet.start_agent(node)),
            "leader": (lambda: fleet.kill_leader(), lambda: fleet.start_leader()),
        }.get(self.victim, (lambda: fleet.kill_server(server), lambda: fleet.start_server(server)))
        kill()
        time.sleep(self.away)
        start()

    def is_excused(self, note):
        """Whether it was the server that was away that did not answer; for two seconds more, what had waited for it. An answer that went
        wrong says which one it had asked, and may do so once that is back."""
        return (self.port is not None and (note.get("database") or "").split(" ")[0] == str(self.port)
                and any(began <= note["ended"] and note["began"] <= ended + 2 for began, ended in self.times))

    def claims(self, fleet, journal):
        hits = [next(("%s%s +%.0f ms" % (BACK if way == "back" else "", step, (killed - began) * 1000)
                      for way, _, step, began, ended in journal.steps() if began <= killed < ended), "no step")
                for killed, _ in self.times]
        return [Claim("the %s was killed" % self.victim, "%d times: %s" % (len(hits), ", ".join(hits)), "once", bool(hits))]


def failing_at(name, start):
    """The fault by which the schema is another one when the run turns back."""
    if name == "migrated":
        return HookFault("migrate")
    if name == "canary":
        return UnhealthyRelease("rollout", "the new release is not healthy on web-1, the canary", 0, "health-v2")
    return failing(name, start)


def failures():
    """What `--fail every` tries, in order."""
    place = PHASES.index("rollout")
    return PHASES[:place] + ["migrated", "canary"] + PHASES[place:]


def killing(victim, place, after, away):
    if victim == "migration":
        return SlowMigrationKill(victim, place, after, away) if place == "migrate" else Kill(victim, place, after, away)
    return KilledAt(victim, place, after, away)


def pairs(victim, place):
    """Whom to kill, and where; `every` is all of them. Patroni's own steps are where it is."""
    victims = EVERYBODY if victim == "every" else [victim]
    if place != "every":
        return [(victim, place) for victim in victims]
    return ([(victim, place) for place in EVERYWHERE for victim in victims]
            + [(victim, place) for place in MANAGED for victim in victims if victim == "leader"])


def is_place(text):
    """Whether it may be one: a phase, the word of a step, or all of them."""
    return text in PHASES or ":" in text or text in ("every", EACH)


def median_claim(took):
    """The first writes of several ways back, in milliseconds."""
    median = statistics.median(took) if took else 0
    return Claim(
        "from the decision to the first write, %d ways back" % len(took), "median %.0f ms, most %.0f ms" % (median, max(took, default=0)),
        "<= %d ms" % frozen_checker.PROMOTION_TARGET_MS, 0 < median <= frozen_checker.PROMOTION_TARGET_MS, is_speed=True)
