# SPDX-License-Identifier: Apache-2.0
"""After a promotion, what docs/frozen-replica.md says is to be done: the first primary becomes a standby of the new one, the nodes go to
their usual database there, and the upgrade that was rolled back is run again, the other way round."""

import checker
import state
from checker import Claim
from frozen import SLOT
from node import GUESTBOOK
from postgres import binaries
from processes import wait_until

# Step 4 of that page.
HOME = """
fleet: guestbook
nodes: {labels: {role: web}}
release: {name: v1, bundle: %s}
writes: {admission: hold, hold_for: 60s, hold_at_most: 1000, retry_after: 5s}
rollout: {warm: [start-app], health: {check: page}, retire: [stop-app]}
on_failure: rollback
"""


class Again:
    def __init__(self, fleet, say):
        self.fleet, self.say = fleet, say
        self.first, self.second = fleet.postgres, fleet.standby

    def claims(self):
        self.make_standby()
        self.change_addresses()
        claims = [self.bring_home(), *self.upgrade()]
        self.fleet.stop_clients()
        return claims + [checker.reads(self.fleet.notes), *checker.writes(self.fleet.notes, self.second)]

    def make_standby(self):
        """Step 2: with data checksums or wal_log_hints, pg_rewind; the slot is made on the new primary."""
        self.fleet.kill_server(self.first)
        self.second.query("CHECKPOINT")
        self.second.query("SELECT pg_create_physical_replication_slot(%s)", (SLOT,))
        self.first._as_account([
            binaries() / "pg_rewind", "--target-pgdata", self.first.data, "--write-recovery-conf", "--source-server",
            self.second.url("postgres", "postgres")])
        self.fleet.start_server(self.first)
        wait_until("the first primary streams from the new one (log: %s)" % self.first.log, self.streams)
        self.say("the first primary is a standby of the new one")

    def streams(self):
        return self.second.query("SELECT r.state FROM pg_stat_replication AS r JOIN pg_replication_slots AS s ON s.active_pid = r.pid"
                                 " WHERE s.slot_name = %s", (SLOT,)) == [("streaming",)]

    def change_addresses(self):
        """Step 3: of the coordinator, and of the nodes."""
        fleet = self.fleet
        fleet.postgres, fleet.standby = self.second, self.first
        fleet.kill_coordinator()
        fleet.start_coordinator()
        for node in fleet.nodes:
            node.standby_url = self.first.url("guestbook_app")
            node.write_environment(self.second.url("guestbook_app"))

    def bring_home(self):
        path = self.fleet.plans / "home.yaml"
        path.write_text(HOME % (GUESTBOOK / "v1"))
        self.say("\nsluice apply %s" % path)
        code, run = self.fleet.apply(path, say=self.say)
        served = [node.served() for node in self.fleet.nodes]
        usual = [name for name in served if name.startswith("v1.") and not name.endswith(".standby")]
        return Claim("nodes that serve v1 on their usual database again", "%d of %d, exit code %d" % (len(usual), len(served), code),
                     "all, 0", len(usual) == len(served) and code == 0, self.fleet.journal(run).reasons() if run else [])

    def upgrade(self):
        """Step 5."""
        fleet = self.fleet
        plan = fleet.variant("again")
        self.say("\nsluice apply %s" % plan)
        code, run = fleet.apply(plan, say=self.say, patience=600.0)
        journal = fleet.journal(run)
        served = [node.served() for node in fleet.nodes]
        wait_until("the new standby has caught up", self.has_caught_up)
        same = state.schema(self.first) == state.schema(self.second)
        return [
            Claim("the upgrade, run again", "exit code %d, %s" % (code, journal.outcome()), "0, done", code == 0, journal.reasons()),
            Claim("nodes that serve v2", str(sum(name.startswith("v2.") for name in served)), str(len(served)),
                  all(name.startswith("v2.") for name in served), served),
            Claim("the new standby follows, with the new schema", str(same and self.streams()), "True", same and self.streams())]

    def has_caught_up(self):
        lsn = self.second.query("SELECT pg_current_wal_lsn()::text")[0][0]
        return self.first.query("SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", (lsn,))[0][0]
