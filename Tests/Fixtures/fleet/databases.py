# SPDX-License-Identifier: Apache-2.0
"""The guestbook with a second database, in which a worker counts visits, and what becomes of both in one run."""

import os
import re
import signal
import threading
import time
import uuid

import psycopg2

import state
import tools
from checker import Claim
from faults import DONE, LEFT_OUT, ROLLED_BACK, Fault
from node import GUESTBOOK
from postgres import MIGRATOR, VISITS
from processes import wait_until

SCHEMA = """
CREATE TABLE visit_log (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, request_id uuid NOT NULL);
INSERT INTO visit_log (request_id) SELECT gen_random_uuid() FROM generate_series(1, 500);
ALTER TABLE visit_log OWNER TO guestbook_owner;
GRANT SELECT, INSERT ON visit_log TO guestbook_app;
"""

UP = "ALTER TABLE visit_log ADD COLUMN times integer NOT NULL DEFAULT 1;\n"
DOWN = "ALTER TABLE visit_log DROP COLUMN times;\n"


class Worker(threading.Thread):
    """Writes into the second database all the time, past every gate, as a queue's worker would."""

    def __init__(self, postgres):
        super().__init__(daemon=True)
        self.postgres = postgres
        self.ended = threading.Event()
        # Each attempt: its key, when it began and ended, and whether it was committed.
        self.notes = []

    def run(self):
        connection = None
        while not self.ended.wait(0.01):
            key, began = str(uuid.uuid4()), time.time()
            try:
                connection = connection or self.postgres.connect("guestbook_app", autocommit=True, database=VISITS)
                with connection.cursor() as cursor:
                    cursor.execute("INSERT INTO visit_log (request_id) VALUES (%s)", (key,))
                self.notes.append((key, began, time.time(), True))
            except psycopg2.Error:
                self.notes.append((key, began, time.time(), False))
                # A straggler's session may have been ended.
                if connection is not None and connection.closed:
                    connection = None
        if connection is not None:
            connection.close()

    def stop(self):
        self.ended.set()
        self.join(30.0)


class Databases(Fault):
    """Both are migrated."""

    text = "nothing; the plan has two databases"
    statements = UP
    # What is in the ledger of visits in the end.
    entries = ["0001"]

    def __init__(self):
        super().__init__("migrate")

    def prepare(self, fleet):
        fleet.postgres.query('CREATE DATABASE "%s" OWNER guestbook_owner' % VISITS, database="postgres")
        fleet.postgres.query(SCHEMA, database=VISITS)
        migrating = self.migrating(fleet)
        self.before = self.snapshot(fleet)
        self.worker = Worker(fleet.postgres)
        self.worker.start()
        return self.plan(fleet, "\ndatabases:\n  visits:\n    url: env:SLUICE_VISITS_URL\n" + migrating)

    def migrating(self, fleet):
        """What the plan says of who migrates `visits`."""
        files = fleet.plans / "visits"
        files.mkdir()
        (files / "0001_times.up.sql").write_text(self.statements)
        (files / "0001_times.down.sql").write_text(DOWN)
        return "    migrations: %s\n" % files

    def plan(self, fleet, append):
        return fleet.variant("databases", append=append)

    def snapshot(self, fleet):
        return {"schema of visits": state.schema(fleet.postgres, VISITS),
                "rights of visits": state.rights(fleet.postgres, VISITS),
                "migrations of visits": self.ledger_of_visits(fleet)}

    def ledger_of_visits(self, fleet):
        return state.migrations(fleet.postgres, VISITS)

    def remove(self, fleet):
        self.worker.stop()

    def claims(self, fleet, journal):
        return self.claims_of_worker(fleet) + self.claims_of_fence(journal) + self.claims_of_state(fleet)

    def claims_of_worker(self, fleet):
        stored = [key for key, in fleet.postgres.query("SELECT request_id::text FROM visit_log", database=VISITS)]
        kept = [key for key, _, _, is_committed in self.worker.notes if is_committed]
        lost = sorted(set(kept) - set(stored))
        return [
            Claim("acknowledged writes of the worker lost", "%d of %d" % (len(lost), len(kept)), "0",
                  not lost and len(kept) > 0, lost[:10]),
            Claim("writes of the worker stored twice", str(len(stored) - len(set(stored))), "0",
                  len(stored) == len(set(stored)))]

    def claims_of_fence(self, journal):
        """Of both, the fence is up and the census taken before the first migrates; nobody writes behind it."""
        started = [(fact.body["kind"], fact.body.get("database")) for fact in journal.facts
                   if fact.type == "database-task-started" and fact.body["attempt"] == 1]
        window = [task for task in started if task[0] in ("raiseFence", "census", "migrate")]
        wanted = [(kind, name) for kind in ("raiseFence", "census", "migrate") for name in ("default", "visits")]
        raised = journal.task("raiseFence", "visits")
        lowered = journal.task("lowerFence", "visits")
        if not raised or not lowered:
            return [Claim("the fence of visits was up and is down", "no", "yes", False)]
        behind = [note for note in self.worker.notes if note[1] > raised[1] and note[2] < lowered[0]]
        through = [note for note in behind if note[3]]
        return [
            Claim("fences and censuses of both before the first migration", str(window == wanted), "True", window == wanted,
                  ["%s %s" % task for task in window]),
            Claim("writes of the worker behind the fence of visits", "%d of %d tried" % (len(through), len(behind)), "0",
                  not through and len(behind) > 0, [str(note) for note in through[:10]])]

    def claims_of_state(self, fleet):
        if self.codes == (DONE,):
            ledger = self.ledger_of_visits(fleet).split()
            times = fleet.postgres.query("SELECT count(times) FROM visit_log", database=VISITS)[0][0]
            return [Claim("migrations of visits", " ".join(ledger), " ".join(self.entries), ledger == self.entries),
                    Claim("visits with the new column", str(times), "all", times > 0)]
        changed = state.differences(self.before, self.snapshot(fleet))
        return [Claim("%s: lines that differ from before" % part, str(len(changed.get(part, []))), "0",
                      part not in changed, changed.get(part, [])) for part in self.before]


class ByTool(Databases):
    """The application's own tool migrates `visits`, by the action that would migrate the other one as well."""

    text = "nothing; the application's own tool migrates the second of two databases"
    on_partly = "person"
    entries = ["0000_initial", "0001_times", "0002_seen"]
    # Lines of the tool's own log.
    runs = ["up:visits"]

    def migrating(self, fleet):
        tools.prepare_ledger(fleet.postgres, "0000_initial", VISITS)
        tools.prepare_nodes(fleet)
        return ("    migrate_with:\n      run: migrate\n      revert_with: migrate-back\n      on_partly: %s\n      ledger_query: %s\n" % (
            self.on_partly, tools.PLAN_LEDGER))

    def ledger_of_visits(self, fleet):
        names = fleet.postgres.query("SELECT name FROM tool_migration ORDER BY id", database=VISITS)
        return "".join("%s\n" % name for name, in names)

    def claims(self, fleet, journal):
        note = fleet.nodes[0].faults / "runs"
        runs = note.read_text().split() if note.exists() else []
        return super().claims(fleet, journal) + [
            Claim("what the tool was run for", " ".join(runs), " ".join(self.runs), runs == self.runs)]


class SecondFails(ByTool):
    text = "the tool of the second database fails halfway after the first has committed"
    codes = (ROLLED_BACK,)
    on_partly = "back"
    runs = ["up:visits", "back:visits"]

    def prepare(self, fleet):
        (fleet.nodes[0].faults / "fails-0002_seen").touch()
        return super().prepare(fleet)

    def claims(self, fleet, journal):
        return super().claims(fleet, journal) + [undone(journal, "revertMigrate")]


def undone(journal, kind):
    found = [fact.body.get("database") for fact in journal.facts
             if fact.type == "database-task-ended" and fact.body["kind"] == kind and fact.body["result"] == "done"]
    return Claim("%s: of which database, in order" % kind, " ".join(map(str, found)), "visits default", found == ["visits", "default"])


class TwoTools(ByTool):
    """Both by the tool: one action, which is told which database it is for."""

    text = "nothing; the application's own tool migrates both databases"
    runs = ["up", "up:visits"]

    def plan(self, fleet, append):
        plan = tools.Tool.prepare(self, fleet)
        plan.write_text(plan.read_text() + append)
        return plan

    # What `tools.Tool` asks of a case.
    more = ""


class SecondToolFails(TwoTools):
    text = "of two tools the second fails halfway after the first has committed"
    codes = (ROLLED_BACK,)
    on_partly = "back"
    runs = ["up", "up:visits", "back:visits", "back"]

    def prepare(self, fleet):
        (fleet.nodes[0].faults / "fails-0002_seen").touch()
        return super().prepare(fleet)

    def claims(self, fleet, journal):
        return super().claims(fleet, journal) + [undone(journal, "closeRevertPass")]


class SecondToolAgain(TwoTools):
    text = "of two tools the second is killed halfway; the plan says again"
    on_partly = "again"
    runs = ["up", "up:visits", "up:visits"]
    done = False

    def prepare(self, fleet):
        (fleet.nodes[0].faults / "waits-0002_seen").touch()
        return super().prepare(fleet)

    def on_fact(self, fleet, body):
        if body["type"] != "step-began" or body["step"] != "nodes:tool:1" or self.done:
            return
        self.done = True
        note = fleet.nodes[0].faults / "waiting"
        wait_until("the tool waits", lambda: note.exists() and note.read_text() != "")
        (fleet.nodes[0].faults / "waits-0002_seen").unlink()
        os.kill(int(note.read_text()), signal.SIGKILL)


class KilledBetween(Databases):
    text = "kill -9 of the coordinator between the two migrations"
    killed = False

    def on_fact(self, fleet, body):
        if self.killed or body["type"] != "step-began" or body["step"] != "database:migrate:1":
            return
        self.killed = True
        fleet.kill_coordinator()
        time.sleep(0.5)
        fleet.start_coordinator()


class LeftOut(Databases):
    """The data of the second one do not fit its migration. It is left out, and the first goes to the new release; then a run with it alone
    that fails as well, and at last the same plan once more."""

    text = "the migration of the second database fails, and it is left out"
    codes = (LEFT_OUT,)
    # What is tried before the window would be found there.
    statements = "-- sluice: switch trial=none\n" + UP + "ALTER TABLE visit_log ADD CONSTRAINT visit_later CHECK (id > 3);\n"
    sites = "leave_out_with: {close: close-site, open: open-site}\n"

    def migrating(self, fleet):
        return super().migrating(fleet) + "    " + self.sites

    def plan(self, fleet, append):
        files = "  migrations: %s\n" % (GUESTBOOK / "migrations")
        plan = fleet.variant("databases", replace=[(files, files + "  " + self.sites)], append=append + "failed_databases_at_most: 1\n")
        again = plan.read_text().replace("  expected: v1\n", "")
        self.again, self.alone = plan.with_name("again.yaml"), plan.with_name("alone.yaml")
        self.again.write_text(again)
        self.alone.write_text(re.sub(r"(?m)^database:\n(  .*\n)+", "", again).replace("failed_databases_at_most: 1\n", ""))
        return plan

    def remove(self, fleet):
        """The worker goes on for as long as the fence stands."""

    def closed(self, fleet):
        """What each node served when the site was closed there, for those where it is."""
        notes = [node.faults / "closed-visits" for node in fleet.nodes]
        return [note.read_text().strip() for note in notes if note.exists()]

    def fence(self, fleet):
        return [row[0] for row in fleet.postgres.query("SELECT state FROM sluice.fence", database=VISITS)]

    def claims_of_standing(self, fleet, when):
        closed, fence = self.closed(fleet), self.fence(fleet)
        columns = fleet.postgres.query(
            "SELECT count(*) FROM information_schema.columns WHERE table_name = 'visit_log' AND column_name = 'times'", database=VISITS)[0][0]
        return [
            Claim("%s: nodes where the site is closed, and was before they flipped" % when, " ".join(closed), "all of them, at v1",
                  len(closed) == len(fleet.nodes) and all("-v1" in line for line in closed)),
            Claim("%s: the fence of visits" % when, " ".join(fence), "up", fence == ["up"]),
            Claim("%s: migrations of visits" % when, self.ledger_of_visits(fleet).strip(), "none", not self.ledger_of_visits(fleet).strip()),
            Claim("%s: columns that its migration would have added" % when, str(columns), "0", columns == 0)]

    def claims(self, fleet, journal):
        try:
            return self.claims_of_runs(fleet, journal)
        finally:
            self.worker.stop()

    def claims_of_runs(self, fleet, journal):
        claims = self.claims_of_standing(fleet, "left out")
        run = journal.facts[0].body["run"]
        shown = [" ".join(fleet.operator(command, run)[1]) for command in ("status", "report")]
        claims.append(Claim("status and report that name it", str(sum("left out: visits: " in text for text in shown)), "2",
                            all("left out: visits: " in text for text in shown), shown))
        code, _ = fleet.apply(self.alone)
        claims.append(Claim("the run with visits alone, whose data are as they were", "exit code %d" % code, "exit code 4", code == ROLLED_BACK))
        claims += self.claims_of_standing(fleet, "failed again")
        fleet.postgres.query("DELETE FROM public.visit_log WHERE id <= 3", user=MIGRATOR, database=VISITS)
        code, last = fleet.apply(self.again)
        time.sleep(1)
        self.worker.stop()
        closed, fence = self.closed(fleet), self.fence(fleet)
        raised, lowered = journal.task("raiseFence", "visits"), fleet.journal(last).task("lowerFence", "visits")
        behind = [note for note in self.worker.notes if raised and lowered and note[1] > raised[1] and note[2] < lowered[0]]
        through = [note for note in behind if note[3]]
        after = [note for note in self.worker.notes if lowered and note[1] > lowered[1] and note[3]]
        times = fleet.postgres.query("SELECT count(times) FROM visit_log", database=VISITS)[0][0] if code == DONE else 0
        return claims + self.claims_of_worker(fleet) + [
            Claim("the same plan once its data are mended", "exit code %d" % code, "exit code 0", code == DONE),
            Claim("nodes where the site is still closed", str(len(closed)), "0", not closed),
            Claim("the fence of visits in the end", " ".join(fence) or "none", "none", not fence),
            Claim("visits with the new column", str(times), "all", times > 0),
            Claim("writes of the worker behind the fence, over three runs", "%d of %d tried" % (len(through), len(behind)), "0",
                  not through and len(behind) > 0, [str(note) for note in through[:10]]),
            Claim("writes of the worker after it", str(len(after)), "some", len(after) > 0)]


CASES = {
    "left-out": LeftOut,
    "done": ByTool, "second-fails": SecondFails, "coordinator-killed": KilledBetween, "files": Databases,
    "two-tools": TwoTools, "second-tool-fails": SecondToolFails, "second-tool-again": SecondToolAgain,
}
