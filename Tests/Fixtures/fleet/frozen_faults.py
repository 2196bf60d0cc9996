# SPDX-License-Identifier: Apache-2.0
"""What can go wrong with two servers: one of them is killed, at the beginning of a step or some time after it."""

import time

import frozen_checker
from faults import DONE, REFUSED, ROLLED_BACK, WAITING, Fault, Kill

SERVERS = ["standby", "primary"]


class KilledServer(Fault):
    """kill -9 of the postmaster; started again as a service manager would."""

    codes = (DONE, REFUSED, ROLLED_BACK, WAITING)
    writes = "either"

    def __init__(self, victim, step, after=0.0, away=1.0):
        super().__init__(step)
        self.victim, self.step, self.after, self.away = victim, step, after, away
        self.text = "kill -9 of the %s in %s" % (victim, step)
        self.killed = False
        self.began = self.ended = 0.0

    def on_fact(self, fleet, body):
        if self.killed or body["type"] != "step-began" or self.step not in (body["phase"], body["step"]):
            return
        self.killed = True
        time.sleep(self.after)
        self.began = time.time()
        server = fleet.standby if self.victim == "standby" else fleet.postgres
        fleet.kill_server(server)
        time.sleep(self.away)
        fleet.start_server(server)
        self.ended = time.time()

    def reads(self, directory):
        return frozen_checker.reads_while_away(directory, self.began, self.ended)


def killing(victim, phase, after, away):
    return (KilledServer if victim in SERVERS else Kill)(victim, phase, after, away)
