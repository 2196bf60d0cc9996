# SPDX-License-Identifier: Apache-2.0
"""scripts/demo --frozen: the old release reads from a frozen standby while the primary is migrated; nobody who reads notices."""

import time

import checker
import faults
import frozen_checker as frozen
import frozen_patroni
import state
from checker import Claim
from frozen import SLOT, Asking, FrozenFleet
from frozen_again import Again
from frozen_faults import failing_at, median_claim
from frozen_patroni import PatroniFleet
from processes import wait_until
from repointed import RepointedFleet


class FrozenDemo:
    """What `scripts/demo` does, with a standby. `demo` gives the words, the report and the claims that both have."""

    def __init__(self, demo):
        self.demo = demo
        self.say = demo.say
        self.arguments = demo.arguments

    def fleet(self, is_frozen=True, is_managed=False, is_synchronous=False):
        """`is_managed`: Patroni looks after both servers; it has a list of its own of those that commits wait for."""
        is_managed = is_managed or self.arguments.patroni
        kind = PatroniFleet if is_managed else RepointedFleet if self.arguments.repoint else FrozenFleet
        fleet = kind(self.demo.binaries, entries=self.arguments.entries, keep=self.arguments.keep,
                     strict=self.arguments.start == "after-migration", synchronous=is_synchronous and not is_managed)
        fleet.is_frozen = is_frozen
        closing = self.demo.closing(fleet)
        self.say("%d nodes on v1, a primary and a streaming standby with %d entries, everything below %s" % (
            len(fleet.nodes), self.arguments.entries, fleet.directory))
        return closing

    # Done

    def upgrade(self, tool=None):
        """`tool`: the application's own migrates, and what becomes of it."""
        claims, _ = self.measured(is_frozen=True, tool=tool)
        return claims

    def compare(self):
        """The same plan with reads held beside it: one figure of each in a line."""
        claims, frozen_figures = self.measured(is_frozen=True)
        held, held_figures = self.measured(is_frozen=False)
        self.say("\n  %-52s %14s %14s" % ("", "from standby", "held"))
        for name, value in frozen_figures.items():
            self.say("  %-52s %14s %14s" % (name, value, held_figures.get(name, "-")))
        return claims + [Claim("held: " + claim.text, claim.measured, claim.target, claim.holds, claim.details, claim.is_speed)
                         for claim in held if not claim.is_speed]

    def measured(self, is_frozen, tool=None):
        with self.fleet(is_frozen) as fleet:
            plan = tool.prepare(fleet) if tool else fleet.plan()
            before = {**state.snapshot(fleet), **frozen.replication(fleet)}
            fleet.start_readers(self.arguments.rate)
            time.sleep(self.arguments.before)
            self.say("\nsluice apply %s" % plan)
            code, run = fleet.apply(
                plan, on_fact=lambda body: tool and tool.on_fact(fleet, body), say=self.say, patience=600.0)
            time.sleep(2)
            self.read_on(fleet)
            fleet.stop_clients()
            journal = fleet.journal(run)
            self.demo.report(fleet, run)
            claims = [Claim("the run is done", "exit code %d, %s" % (code, journal.outcome()), "0, done",
                            code == 0 and journal.outcome() == "done", journal.reasons())]
            of_clients = self.demo.claims_of_clients(
                fleet, primary=fleet.standby if fleet.standby.is_primary() else fleet.postgres)
            if not is_frozen:
                # How many a migration makes wait for longer than they are held is what is compared.
                of_clients[0].is_speed = of_clients[-1].is_speed = True
            claims += of_clients
            if journal.write_window() is None:
                return claims + [Claim("a write window", "none", "one", False)], {}
            speed, figures = self.claims_of_speed(fleet, journal, is_frozen)
            claims += speed
            if is_frozen:
                claims.append(frozen.read_from(fleet.notes, fleet, "P S"))
            if code == 0:
                claims += self.demo.claims_of_new_state(fleet, before) + self.claims_of_replication(fleet, before)
                claims += tool.claims(fleet, journal) if tool else []
            self.parts("The write window: %.0f ms, of them %.0f ms of migration" % (
                journal.write_window() * 1000, journal.migration_time() * 1000), journal, journal.window_parts())
            return claims, {"reads failed": of_clients[0].measured.split(" (")[0],
                            "writes refused or failed": of_clients[-1].measured.split(" (")[0], **figures}

    def claims_of_speed(self, fleet, journal, is_frozen):
        gap, longest = frozen.longest_gap(fleet.notes)
        slow, added = frozen.latency(fleet.notes, journal.step("nodes:closed")[0], journal.write_window_ends())
        beyond, rest = frozen.window(journal, max(self.demo.starts(fleet), default=0) if fleet.strict else None)
        mixed = frozen.mixed(fleet.notes, fleet)
        # An application that runs once is ended and started anew at its node's flip, and reads wait for that.
        if not is_frozen or self.arguments.repoint:
            gap.is_speed = slow.is_speed = True
        return [gap, slow, beyond, mixed], {
            "longest time without an answer": "%.0f ms" % (longest * 1000),
            "99.9th percentile of a read, added": "%.0f ms" % added,
            "write window": "%.0f ms" % (journal.write_window() * 1000), "write window minus migration": "%.0f ms" % rest,
            "mixed pairs": mixed.measured.split(" (")[0]}

    def read_on(self, fleet, patience=1800.0):
        """Until as many reads are noted as are asked for."""
        if self.arguments.reads > 0:
            wait_until("%d reads" % self.arguments.reads, lambda: frozen.count_of_reads(fleet.notes) >= self.arguments.reads,
                       patience, every=5.0)

    def parts(self, title, journal, parts):
        """A table of steps; a task of the database with what it took by its own clock."""
        self.say("\n%s; step by step:" % title)
        for step, seconds in parts:
            task = journal.task_seconds(step.removeprefix("database:"))
            self.say("  %-28s %6.0f ms%s" % (step, seconds * 1000, "" if task is None else ", the task %.0f ms" % (task * 1000)))

    def claims_of_replication(self, fleet, before):
        """The standby follows again, and everything that was set for it is as it was."""
        # A receiver that has lost its primary asks again after five seconds (wal_retrieve_retry_interval).
        wait_until("the standby streams, and has caught up", lambda: fleet.standby.streams() and fleet.standby.has_caught_up())
        after = frozen.replication(fleet)
        changed = state.differences({part: before[part] for part in after}, after)
        claims = [Claim("%s: lines that differ from before" % part, str(len(changed.get(part, []))), "0", part not in changed,
                        changed.get(part, [])) for part in after]
        same = state.schema(fleet.standby) == state.schema(fleet.postgres)
        return claims + [Claim("the standby has the new schema", str(same), "True", same)]

    # Back

    def fail_everywhere(self, names):
        """A fleet for each; what they have in common is the time to the first write."""
        claims, took = [], []
        for name in names:
            claims += [Claim("%s: %s" % (name, claim.text), claim.measured, claim.target, claim.holds, claim.details, claim.is_speed)
                       for claim in self.fail(failing_at(name, self.arguments.start), took)]
        return claims + [median_claim(took)]

    def fail(self, fault, took=None):
        """`took`: gets the milliseconds from the decision to the first write."""
        with self.fleet(is_managed=fault.is_managed, is_synchronous=True) as fleet:
            self.say("Injected: %s" % fault.text)
            plan = fault.prepare(fleet)
            before = {**state.snapshot(fleet), **frozen.replication(fleet)}
            fleet.start_readers(self.arguments.rate)
            asking = Asking(fleet)
            asking.start()
            time.sleep(2)
            code, run, asked = self.apply(fleet, fault, plan)
            time.sleep(2)
            if self.arguments.again:
                asking.stop()
                fault.remove(fleet)
                return Again(fleet, self.say).claims()
            fleet.stop_clients()
            asking.stop()
            journal = fleet.journal(run)
            self.parts("The way back", journal, journal.back_parts())
            claims = [
                self.how_it_ended(fault, journal, code, asked), *self.claims_of_advice(asked), fault.reads(fleet.notes),
                frozen.mixed(fleet.notes, fleet), frozen.longest_gap(fleet.notes)[0], frozen.one_primary(asking),
                *fault.claims(fleet, journal),
                *self.claims_of_where_it_ended(fleet, fault, journal, code, before, asking, took)]
            fault.remove(fleet)
            return claims

    def apply(self, fleet, fault, plan):
        """Returns the exit code in the end, the run, and the facts that say what a person was asked for, and did."""
        self.say("\nsluice apply %s" % plan)
        code, run = fleet.apply(
            plan, on_fact=lambda body: fault.on_fact(fleet, body), say=self.say, patience=600.0)
        if code != faults.WAITING:
            return code, run, []
        self.say("waits for a person, who tries it again: %s" % fleet.journal(run).reasons()[-1])
        code = fleet.try_again(run, self.say)
        return code, run, [fact.body for fact in fleet.journal(run).facts if fact.type == "stopped"]

    def how_it_ended(self, fault, journal, code, asked):
        return Claim("%s: how it ended" % fault.phase, "exit code %d, %s%s" % (
            code, journal.outcome(), ", after a person was asked" if asked else ""),
            "exit code %s" % " or ".join(map(str, fault.codes)), code in fault.codes and (not asked or fault.may_ask),
            journal.reasons())

    def claims_of_advice(self, asked):
        """What a person was told leads out by what was done: a retry."""
        if not asked:
            return []
        mute = [body for body in asked if "retry" not in body["advice"]]
        return [Claim("what a person was asked for does not say what leads on", "%d of %d" % (len(mute), len(asked)), "0", not mute,
                      [str(body) for body in mute])]

    def claims_of_where_it_ended(self, fleet, fault, journal, code, before, asking, took):
        if fleet.standby.is_primary():
            return self.claims_of_promotion(fleet, fault, journal, before, asking, took)
        claims = [*checker.writes(fleet.notes, fleet.postgres), checker.refused(fleet.notes, fault.writes, fault.is_excused),
                  frozen.asked_writes_kept(asking, fleet.postgres)]
        if code == faults.DONE:
            claims += self.demo.claims_of_new_state(fleet, before)
        else:
            claims += self.claims_of_state(before, state.snapshot(fleet), ("schema", "rights", "migrations", "nodes"))
        return claims + self.claims_of_replication(fleet, before)

    def claims_of_state(self, before, after, parts):
        changed = state.differences({part: before[part] for part in parts}, after)
        return [Claim("%s: lines that differ from before" % part, str(len(changed.get(part, []))), "0", part not in changed,
                      changed.get(part, [])) for part in parts]

    def claims_of_promotion(self, fleet, fault, journal, before, asking, took=None):
        """The standby is the primary, as the primary was before; the nodes serve the old release from it."""
        served = [node.served() for node in fleet.nodes]
        on_standby = [name for name in served if name.startswith("v1.") and name.endswith(".standby")]
        before = {**before, "files": before["files of standby"]}
        after = {"schema": state.schema(fleet.standby), "rights": state.rights(fleet.standby),
                 "migrations": state.migrations(fleet.standby)}
        if fleet.patroni:
            wait_until("the new primary is Patroni's leader", fleet.patroni.leads_the_standby, 60.0)
            after["Patroni"] = fleet.patroni.state()
            before["Patroni"] = before["Patroni"].replace("leader: %s" % frozen_patroni.PRIMARY, "leader: %s" % SLOT)
        else:
            after["files"] = frozen.files(fleet.standby)
        first, milliseconds = frozen.decision_to_write(fleet.notes, journal, fleet)
        if took is not None and milliseconds:
            took.append(milliseconds)
        return [
            first, *checker.writes(fleet.notes, fleet.standby), checker.refused(fleet.notes, fault.writes, fault.is_excused),
            frozen.asked_writes_kept(asking, fleet.standby),
            Claim("nodes that serve v1 on the standby", "%d of %d" % (len(on_standby), len(served)), "all",
                  len(on_standby) == len(served), served),
            Claim("gates that are open", str(sum(node.gate_is_open() for node in fleet.nodes)), str(len(fleet.nodes)),
                  all(node.gate_is_open() for node in fleet.nodes)),
            *self.claims_of_state(before, after, sorted(after))]
