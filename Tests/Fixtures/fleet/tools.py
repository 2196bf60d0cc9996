# SPDX-License-Identifier: Apache-2.0
"""The guestbook with a migration tool of its own (guestbook/bin/tool) instead of a `switch` file, and what becomes of that tool."""

import os
import shutil
import signal
import time

from checker import Claim
from faults import DONE, ROLLED_BACK, Fault
from node import GUESTBOOK
from postgres import VISITS
from processes import wait_until

LEDGER = "public.tool_migration"
PLAN_LEDGER = "SELECT name FROM public.tool_migration ORDER BY id"
FIRST, SECOND, THIRD, FOURTH = "0002_source", "0003_split_author", "0004_visit_how", "0005_names"


def prepare_ledger(postgres, first, database=None):
    postgres.query(
        "CREATE TABLE tool_migration (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL UNIQUE);"
        " ALTER TABLE tool_migration OWNER TO guestbook_owner;"
        " INSERT INTO tool_migration (name) VALUES ('%s')" % first, database=database)


def prepare_nodes(fleet):
    # The fence finds the owner's members: a person's account, as which a sneaky client logs in too.
    for node in fleet.nodes:
        file = node.root / "etc" / "tool.env"
        file.write_text("TOOL_DSN='%s'\nTOOL_DSN_VISITS='%s'\nTOOL_FAULTS='%s'\n" % (
            fleet.postgres.url("guestbook_admin"), fleet.postgres.url("guestbook_admin", VISITS), node.faults))
        file.chmod(0o600)


class Tool(Fault):
    """It ends well."""

    text = "nothing; the application's own tool migrates"
    on_partly = "person"
    codes = (DONE,)
    # Lines of the tool's own log.
    runs = ["up"]
    # What of the plan's `migrate_with` only this case has, and what is in the ledger in the end.
    more = ""
    entries = [FIRST, SECOND]

    def __init__(self):
        super().__init__("migrate")

    def prepare(self, fleet):
        prepare_ledger(fleet.postgres, "0001_initial")
        prepare_nodes(fleet)
        migrations = fleet.plans / "files"
        shutil.copytree(GUESTBOOK / "migrations", migrations, ignore=shutil.ignore_patterns("0003*"))
        # What is proved is that nobody is refused meanwhile, however slow this machine is.
        text = fleet.example()
        patient = [(words, "hold_for: 40s") for words in ("hold_for: 15s", "hold_for: 10s") if words in text]
        return fleet.variant("tool", replace=patient + [("  migrations: %s\n" % (GUESTBOOK / "migrations"), (
            "  migrations: %s\n  migrate_with:\n    run: migrate\n    revert_with: migrate-back\n    on_partly: %s\n"
            "    ledger_query: %s\n%s") % (migrations, self.on_partly, PLAN_LEDGER, self.more))])

    def faults(self, fleet):
        return fleet.nodes[0].faults

    def ask_for(self, fleet, name):
        (self.faults(fleet) / name).touch()

    def on_fact(self, fleet, body):
        if body["type"] == "step-began" and body["step"] == "nodes:tool":
            self.while_it_runs(fleet)

    def while_it_runs(self, fleet):
        """The tool has been told to run."""

    def wait_for_it(self, fleet):
        """The pid of the tool, once it waits before its second migration."""
        note = self.faults(fleet) / "waiting"
        wait_until("the tool waits", lambda: note.exists() and note.read_text() != "")
        return int(note.read_text())

    def release(self, fleet):
        (self.faults(fleet) / ("waits-%s" % SECOND)).unlink(missing_ok=True)

    def ledger(self):
        return LEDGER

    def claims(self, fleet, journal):
        note = self.faults(fleet) / "runs"
        runs = note.read_text().split() if note.exists() else []
        others = [node.name for node in fleet.nodes[1:] if (node.faults / "runs").exists()]
        sessions = fleet.postgres.query(
            "SELECT count(*) FROM pg_event_trigger WHERE evtname LIKE 'sluice_fence%'")[0][0]
        ledger = [name for name, in fleet.postgres.query("SELECT name FROM tool_migration ORDER BY id")]
        expected = ["0001_initial"] + (self.entries if self.codes == (DONE,) else [])
        secret = self.secrets(fleet)
        return [
            Claim("what the tool was run for", " ".join(runs), " ".join(self.runs), runs == self.runs),
            Claim("nodes that ran it besides web-1", str(len(others)), "0", not others, others),
            Claim("entries of its ledger", " ".join(ledger), " ".join(expected), ledger == expected),
            Claim("event triggers that are left", str(sessions), "0", sessions == 0),
            Claim("files that have its secret", str(len(secret)), "0", not secret, secret)]

    def secrets(self, fleet):
        """Logs, journals and plans in which somebody would find what lets the tool in."""
        found = []
        for path in fleet.directory.rglob("*"):
            if path.is_file() and path.suffix in (".log", ".journal", ".yaml", ".sqlite", ".db", ".sqlite-wal"):
                if b"sluice.pass=" in path.read_bytes():
                    found.append(str(path))
        return found


class FailsAtOnce(Tool):
    text = "the tool fails before it has changed anything"
    codes = (ROLLED_BACK,)

    def prepare(self, fleet):
        self.ask_for(fleet, "fails-%s" % FIRST)
        return super().prepare(fleet)


class FailsHalfway(Tool):
    text = "the tool fails in its second migration, and its way back undoes the first"
    on_partly = "back"
    codes = (ROLLED_BACK,)
    runs = ["up", "back"]

    def prepare(self, fleet):
        self.ask_for(fleet, "fails-%s" % SECOND)
        return super().prepare(fleet)


class UndoneLater(Tool):
    text = "the new release is not healthy on web-2, after the tool has migrated"
    codes = (ROLLED_BACK,)
    runs = ["up", "back"]

    def prepare(self, fleet):
        (fleet.nodes[1].faults / "health-v2").touch()
        plan = super().prepare(fleet)
        plan.write_text(plan.read_text().replace("deadline: 30s", "deadline: 3s"))
        return plan

    def remove(self, fleet):
        (fleet.nodes[1].faults / "health-v2").unlink(missing_ok=True)


class Waits(Tool):
    """Something is killed while the tool waits before its second migration."""

    done = False

    def prepare(self, fleet):
        self.ask_for(fleet, "waits-%s" % SECOND)
        return super().prepare(fleet)

    def while_it_runs(self, fleet):
        if self.done:
            return
        self.done = True
        pid = self.wait_for_it(fleet)
        self.kill(fleet, pid)
        self.release(fleet)

    def kill(self, fleet, pid):
        raise NotImplementedError


class ToolKilled(Waits):
    text = "kill -9 of the tool, halfway; the plan says again"
    on_partly = "again"
    runs = ["up", "up"]

    def kill(self, fleet, pid):
        self.release(fleet)
        os.kill(pid, signal.SIGKILL)


class SessionEnded(Waits):
    text = "the tool's session is ended, halfway; the plan says again"
    on_partly = "again"
    runs = ["up", "up"]

    def kill(self, fleet, pid):
        fleet.postgres.query(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'guestbook_admin'"
            " AND application_name NOT LIKE 'fleet %'")


class AgentKilled(Waits):
    text = "kill -9 of the agent while the tool runs; it lives on, and its probe says that it is done"
    # Those that it held are refused politely: nginx finds the flag and answers in its place.
    writes = "either"

    def kill(self, fleet, pid):
        fleet.kill_agent(fleet.nodes[0])
        time.sleep(0.5)
        fleet.start_agent(fleet.nodes[0])


class AgentAndToolKilled(Waits):
    text = "kill -9 of the agent and of the tool; nobody saw its end, and the plan says again"
    writes = "either"
    on_partly = "again"
    runs = ["up", "up"]

    def kill(self, fleet, pid):
        fleet.kill_agent(fleet.nodes[0])
        self.release(fleet)
        os.kill(pid, signal.SIGKILL)
        time.sleep(0.5)
        fleet.start_agent(fleet.nodes[0])


class CoordinatorKilled(Waits):
    text = "kill -9 of the coordinator while the tool runs"

    def kill(self, fleet, pid):
        fleet.kill_coordinator()
        time.sleep(0.5)
        fleet.start_coordinator()


class BeforeAndAfter(Tool):
    """Said beforehand, done before the window, in it, and after the lift, where agent and tool are killed halfway."""

    text = "kill -9 of the agent and of the tool, halfway after the lift; the plan says again"
    # Those that a killed agent held are refused politely.
    writes = "either"
    on_partly = "again"
    runs = ["preview", "early", "up", "late", "late"]
    more = "    expand_with: migrate-early\n    contract_with: migrate-late\n    preview_with: migrate-preview\n"
    entries = [FIRST, SECOND, THIRD, FOURTH]
    done = False

    def prepare(self, fleet):
        self.ask_for(fleet, "waits-%s" % FOURTH)
        return super().prepare(fleet)

    def on_fact(self, fleet, body):
        if body["type"] != "step-began" or body["step"] != "nodes:tool-contracted" or self.done:
            return
        self.done = True
        pid = self.wait_for_it(fleet)
        fleet.kill_agent(fleet.nodes[0])
        (self.faults(fleet) / ("waits-%s" % FOURTH)).unlink()
        os.kill(pid, signal.SIGKILL)
        fleet.start_agent(fleet.nodes[0])

    def claims(self, fleet, journal):
        _, lines = fleet.operator("report", journal.facts[0].body["run"])
        said = [line for line in lines if "ADD COLUMN source text" in line]
        kept = fleet.postgres.query("SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'sluice-tool%'")[0][0]
        return super().claims(fleet, journal) + [
            Claim("what it would do is in the report", "%d lines" % len(said), "1", len(said) == 1),
            Claim("sessions of the tool that are left", str(kept), "0", kept == 0)]


CASES = {
    "before-and-after": BeforeAndAfter, "done": Tool, "fails": FailsAtOnce, "fails-halfway": FailsHalfway, "undone-later": UndoneLater,
    "tool-killed": ToolKilled, "session-ended": SessionEnded, "agent-killed": AgentKilled,
    "agent-and-tool-killed": AgentAndToolKilled, "coordinator-killed": CoordinatorKilled,
}
