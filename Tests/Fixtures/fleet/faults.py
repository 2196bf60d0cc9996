# SPDX-License-Identifier: Apache-2.0
"""Ways to make a run fail, one for each phase, and ways to kill what drives it.

A fault prepares the fleet and the plan, may act when a stored event arrives, and is taken away in the end. It says which
exit codes of `sluice apply` are right.
"""

import shutil
import time

import checker
from node import GUESTBOOK

PHASES = ["preflight", "stage", "read-only", "drain", "migrate", "rollout", "verify", "lift", "finish"]

# In the plan for a victim that stays away for longer, in seconds.
LEASE = 3

DONE, REFUSED, ROLLED_BACK, WAITING, LEFT_OUT = 0, 3, 4, 5, 6


class Fault:
    """Nothing is wrong."""

    text = "nothing"
    codes = (DONE,)
    # Whether it may end otherwise on a busy machine.
    needs_calm = False
    # Whether a migration tool of the application's own comes through it with one run.
    tool_runs_once = True
    # What may become of writes: `hold`, or `either` where a hold may be cut off.
    writes = "hold"
    # Whether Patroni has to look after the database's servers.
    is_managed = False
    # Whether a person may be asked on the way to one of these codes.
    may_ask = False

    def __init__(self, phase=None):
        self.phase = phase

    def prepare(self, fleet):
        """Returns the plan to apply."""
        return fleet.variant("plan")

    def on_fact(self, fleet, body):
        """Called with each stored event."""

    def remove(self, fleet):
        """Takes away what is not the run's to undo."""

    def lead_out(self, fleet, run):
        """What a person does about a run that waits; returns what else has to be so."""
        return []

    def reads(self, directory):
        """What became of reads."""
        return checker.reads(directory, self.is_excused)

    def is_excused(self, note):
        """Whether an answer that a client has noted went wrong as the fault has to make it."""
        return False

    def ledger(self):
        """The table in which a migration tool of the application's own notes each of its transactions; nothing without one."""

    def claims(self, fleet, journal):
        """What else has to be so afterwards."""
        return []


class RoleThatCannotBeFenced(Fault):
    text = "the application's role may create roles, which no fence covers"
    codes = (REFUSED,)

    def prepare(self, fleet):
        fleet.postgres.query("ALTER ROLE guestbook_app CREATEROLE")
        return super().prepare(fleet)

    def remove(self, fleet):
        fleet.postgres.query("ALTER ROLE guestbook_app NOCREATEROLE")


class FileFault(Fault):
    """A file that the guestbook's scripts and its health page look for."""

    codes = (ROLLED_BACK,)

    def __init__(self, phase, text, node, name, codes=(ROLLED_BACK,)):
        super().__init__(phase)
        self.text, self.node, self.name, self.codes = text, node, name, codes

    def prepare(self, fleet):
        (fleet.nodes[self.node].faults / self.name).touch()
        return super().prepare(fleet)

    def remove(self, fleet):
        (fleet.nodes[self.node].faults / self.name).unlink(missing_ok=True)


class ReleaseThatStays(FileFault):
    """Tidying up fails: it is told, and the run is done all the same. The old release was silenced, and is ended without its action."""


class UnhealthyRelease(FileFault):
    """The health deadline is shorter than the hold, so that writes wait until everything is back."""

    def prepare(self, fleet):
        super().prepare(fleet)
        return fleet.variant("unhealthy", replace=[("deadline: 30s", "deadline: 3s")])


class HookFault(FileFault):
    """A hook after the phase's own work fails on one node: everything that the phase did has to be undone."""

    def __init__(self, phase):
        super().__init__(phase, "a hook after %s fails on web-2" % phase, 1, "smoke-test")

    def prepare(self, fleet):
        super().prepare(fleet)
        return fleet.variant(
            "hook", append="\nhooks:\n  - after: %s\n    run: smoke-test\n    where: every-node\n" % self.phase)


class Straggler(Fault):
    text = "a transaction does not end, and the plan says turn-back"
    codes = (ROLLED_BACK,)

    def prepare(self, fleet):
        self.connection = None
        return fleet.variant("turn-back", replace=[("stragglers: terminate", "stragglers: turn-back"),
                                                   ("timeout: 5s", "timeout: 1s")])

    def on_fact(self, fleet, body):
        # Long before the fence; idle in READ COMMITTED it has no snapshot that the index of `expand` would wait for.
        if self.connection is None and body["type"] == "step-began" and body["phase"] == "stage":
            self.connection = fleet.postgres.connect("guestbook_app")
            with self.connection.cursor() as cursor:
                cursor.execute("SELECT count(*) FROM visit")
        # It ends in the end: the trigger on its table can only go then.
        if self.connection is not None and body["type"] == "step-began" and body["step"] == "nodes:opened":
            self.connection.close()

    def remove(self, fleet):
        if self.connection is not None:
            self.connection.close()


class BrokenMigration(Fault):
    text = "the last statement of the switch migration fails"
    codes = (ROLLED_BACK,)

    def prepare(self, fleet):
        broken = fleet.plans / "broken-migrations"
        shutil.copytree(GUESTBOOK / "migrations", broken)
        with open(broken / "0003_split_author.up.sql", "a") as file:
            # Behind the fence only: what fails already is refused before the window.
            file.write("\nSELECT 1 / (1 - count(*)) FROM pg_event_trigger WHERE evtname = 'sluice_fence';\n")
        return fleet.variant("broken", replace=[(str(GUESTBOOK / "migrations"), str(broken))])


class Kill(Fault):
    """kill -9, in a phase; started again some time later, half a second as systemd would do."""

    codes = (DONE, REFUSED, ROLLED_BACK)

    def __init__(self, victim, phase, after=0.0, away=0.5):
        """after: seconds from the beginning of the phase; away: seconds until it is started again."""
        super().__init__(phase)
        self.victim = victim
        self.after = after
        self.away = away
        # The writes that a killed agent held are refused politely: nginx finds the flag and answers in its place. While a
        # coordinator is away for longer than the lease, gates may open by themselves and the fence refuse; not any more once
        # every node has said that it stays closed, which is before the rollout.
        helps_itself = away > LEASE and PHASES.index(phase) < PHASES.index("rollout")
        self.writes = "either" if victim == "agent" or helps_itself else "hold"
        self.text = "kill -9 of the %s in %s" % (victim, phase)
        self.killed = False

    def prepare(self, fleet):
        # Whoever is away for longer than that finds that nodes have helped themselves.
        return fleet.variant("lease", append="\nlease: %ds\n" % LEASE) if self.away > LEASE else super().prepare(fleet)

    def on_fact(self, fleet, body):
        if self.killed or body["type"] != "step-began" or body["phase"] != self.phase or body["direction"] != "forward":
            return
        self.killed = True
        time.sleep(self.after)
        if self.victim == "coordinator":
            fleet.kill_coordinator()
            time.sleep(self.away)
            fleet.start_coordinator()
        elif self.victim == "agent":
            node = fleet.nodes[1]
            fleet.kill_agent(node)
            time.sleep(self.away)
            fleet.start_agent(node)
        else:
            fleet.postgres.query(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE usename = 'sluice_migrator'")


VICTIMS = ["coordinator", "agent", "migration"]


class SlowMigrationKill(Kill):
    """The migrating connection is ended while it migrates, for which the migration has to take its time."""

    def prepare(self, fleet):
        slow = fleet.plans / "slow-migrations"
        shutil.copytree(GUESTBOOK / "migrations", slow)
        path = slow / "0003_split_author.up.sql"
        path.write_text(path.read_text() + "\nSELECT pg_sleep(1);\n")
        return fleet.variant("slow", replace=[(str(GUESTBOOK / "migrations"), str(slow))])

    def on_fact(self, fleet, body):
        if body["type"] == "database-task-started" and body["kind"] == "migrate" and not self.killed:
            time.sleep(0.3)
            super().on_fact(fleet, {"type": "step-began", "phase": self.phase, "direction": "forward"})


def restart_agent(fleet, node, meanwhile=lambda: None):
    """kill -9; it is there again as soon as systemd would have it."""
    fleet.kill_agent(node)
    meanwhile()
    time.sleep(1)
    fleet.start_agent(node)


def restart_coordinator(fleet):
    fleet.kill_coordinator()
    time.sleep(1)
    fleet.start_coordinator()


def failing(phase, start="warm"):
    """The fault that stands for a failure in that phase."""
    if phase == "rollout" and start == "after-migration":
        return FileFault("rollout", "the new release does not start on web-2, after the migration", 1, "start-v2")
    return {
        "preflight": lambda: RoleThatCannotBeFenced("preflight"),
        "stage": lambda: FileFault("stage", "the new release does not start on web-2", 1, "start-v2"),
        "read-only": lambda: HookFault("read-only"),
        "drain": lambda: Straggler("drain"),
        "migrate": lambda: BrokenMigration("migrate"),
        "rollout": lambda: UnhealthyRelease("rollout", "the new release is not healthy on web-2, in the second batch", 1,
                                            "health-v2"),
        "verify": lambda: HookFault("verify"),
        # From here on nothing goes back by itself.
        "lift": lambda: Kill("coordinator", "lift"),
        "finish": lambda: ReleaseThatStays("finish", "the old release does not stop on web-2", 1, "stop-v1", (DONE,)),
    }[phase]()


def killing(victim, phase, after, away):
    if victim == "migration" and phase == "migrate":
        return SlowMigrationKill(victim, phase, after, away)
    return Kill(victim, phase, after, away)
