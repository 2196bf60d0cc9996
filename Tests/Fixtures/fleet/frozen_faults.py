# SPDX-License-Identifier: Apache-2.0
"""What can go wrong with two servers: one of them, or whoever works with them, is killed at the beginning of a step or some time after it.

A place is a phase or a step by its stored word (`drain`, `database:freezeStandby`); `back:` before it means the way back, for which the
new release is made unhealthy.
"""

import statistics
import time

import checker
import frozen_checker
from faults import DONE, LEASE, PHASES, REFUSED, ROLLED_BACK, WAITING, HookFault, Kill, SlowMigrationKill, UnhealthyRelease, failing

SERVERS = ["standby", "primary", "receiver"]
BACK = "back:"

# Those that have no phase of their own: what fails once the schema is another one, besides `rollout` and `verify`.
FAILURES = ["migrated", "canary", "every"]


def is_at(body, place):
    """Whether a stored event is the beginning of that place."""
    direction = "back" if place.startswith(BACK) else "forward"
    return (body["type"] == "step-began" and body["direction"] == direction
            and place.removeprefix(BACK) in (body["phase"], body["step"]))


class KilledAt(UnhealthyRelease):
    """kill -9, and started again as a service manager would. The receiver is a connection: its sender on the primary is ended."""

    codes = (DONE, REFUSED, ROLLED_BACK, WAITING)
    writes = "either"

    def __init__(self, victim, place, after=0.0, away=1.0):
        super().__init__(place, "kill -9 of the %s in %s" % (victim, place), 1, "health-v2", self.codes)
        self.victim, self.place, self.after, self.away = victim, place, after, away
        self.killed = False
        self.began = self.ended = 0.0

    def prepare(self, fleet):
        if self.place.startswith(BACK):
            return super().prepare(fleet)
        return fleet.variant("lease", append="\nlease: %ds\n" % LEASE) if self.away > LEASE else fleet.variant("plan")

    def on_fact(self, fleet, body):
        if self.killed or not is_at(body, self.place):
            return
        self.killed = True
        time.sleep(self.after)
        self.began = time.time()
        self.kill(fleet)
        self.ended = time.time()

    def kill(self, fleet):
        if self.victim == "receiver":
            fleet.postgres.query("SELECT pg_terminate_backend(pid) FROM pg_stat_replication")
            return
        node = fleet.nodes[1]
        server = fleet.standby if self.victim == "standby" else fleet.postgres
        kill, start = {
            "coordinator": (fleet.kill_coordinator, fleet.start_coordinator),
            "agent": (lambda: fleet.kill_agent(node), lambda: fleet.start_agent(node)),
        }.get(self.victim, (lambda: fleet.kill_server(server), lambda: fleet.start_server(server)))
        kill()
        time.sleep(self.away)
        start()

    def reads(self, directory):
        if self.victim not in ("standby", "primary"):
            return checker.reads(directory)
        return frozen_checker.reads_while_away(directory, self.began, self.ended)

    def claims(self, fleet, journal):
        return [checker.Claim("the %s was killed" % self.victim, str(self.killed), "True", self.killed)]


def failing_at(name, start):
    """The fault by which the schema is another one when the run turns back."""
    if name == "migrated":
        return HookFault("migrate")
    if name == "canary":
        return UnhealthyRelease("rollout", "the new release is not healthy on web-1, the canary", 0, "health-v2")
    return failing(name, start)


def killing(victim, place, after, away):
    if victim == "migration":
        return SlowMigrationKill(victim, place, after, away) if place == "migrate" else Kill(victim, place, after, away)
    return KilledAt(victim, place, after, away)


def is_place(text):
    """Whether it may be one: a phase, or the word of a step."""
    return text in PHASES or ":" in text


def median_claim(took):
    """The first writes of several ways back, in milliseconds."""
    median = statistics.median(took) if took else 0
    return checker.Claim(
        "from the decision to the first write, %d ways back" % len(took), "median %.0f ms, most %.0f ms" % (median, max(took, default=0)),
        "<= %d ms" % frozen_checker.PROMOTION_TARGET_MS, 0 < median <= frozen_checker.PROMOTION_TARGET_MS, is_speed=True)
