# SPDX-License-Identifier: Apache-2.0
"""Judges the judge: an upgrade by hand that is right, and then ones that break a claim each, which the checker must find.

    selftest.py            all cases
    selftest.py NAME...    those cases

Needs no binary of Sluice. What stands in for it is as simple as it can be and has no way back.
"""

import http.server
import os
import socketserver
import subprocess
import sys
import threading
import time

import checker
import state
from fleet import Fleet, interrupt_on_signals
from node import GUESTBOOK
from processes import wait_until


class Gate(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """Answers nginx's question for one node: at once while open, later while closed."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, node):
        self.writes, self.reads = threading.Event(), threading.Event()
        self.writes.set()
        self.reads.set()
        self.flags = node.run / "sluice"
        super().__init__(str(self.flags / "gate.sock"), _Question)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def close(self, event, flag):
        event.clear()
        (self.flags / flag).touch()

    def open(self, event, flag):
        (self.flags / flag).unlink(missing_ok=True)
        event.set()


class _Question(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def address_string(self):
        return "nginx"

    def log_message(self, *_):
        pass

    def do_GET(self):
        # nginx asks with GET, whatever the client's method.
        event = self.server.reads if self.headers["X-Sluice-Kind"] == "read" else self.server.writes
        self.send_response(204 if event.wait(60) else 403)
        self.end_headers()



FENCE_UP = """
CREATE FUNCTION public.fence() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN IF session_user <> 'postgres' THEN RAISE 'the fence is up' USING ERRCODE = '25006'; END IF; RETURN NULL; END $$;
CREATE TRIGGER fence BEFORE INSERT OR UPDATE OR DELETE ON public.entry FOR EACH STATEMENT EXECUTE FUNCTION public.fence();
CREATE TRIGGER fence BEFORE INSERT OR UPDATE OR DELETE ON public.visit FOR EACH STATEMENT EXECUTE FUNCTION public.fence();
"""
FENCE_DOWN = "DROP TRIGGER fence ON public.entry; DROP TRIGGER fence ON public.visit; DROP FUNCTION public.fence();"


class ByHand(Fleet):
    """An upgrade by hand. `fault` names what is done wrong."""

    def before_first_release(self):
        self.gates = [Gate(node) for node in self.nodes]

    def upgrade(self, fault=None):
        postgres = self.postgres
        postgres.query("CREATE SCHEMA IF NOT EXISTS sluice")
        postgres.query("CREATE TABLE IF NOT EXISTS sluice.migration (version text)")
        postgres.query("CREATE TABLE IF NOT EXISTS sluice.fence (state text)")
        postgres.run_file(GUESTBOOK / "migrations" / "0002_recent_entries.up.sql")
        for node in self.nodes:
            node.install(GUESTBOOK / "v2", "v2")
            node.start_application("v2")
            if fault == "assets pruned":
                for name in (GUESTBOOK / "v1/static/assets").iterdir():
                    (node.app / "assets" / name.name).unlink()

        if fault != "gate left open":
            for gate in self.gates:
                gate.close(gate.writes, "read-only")
            time.sleep(0.2)
        if fault != "fence forgotten":
            self.raise_fence()
        census, lsn = postgres.query("SELECT pg_current_xact_id()::text, pg_current_wal_insert_lsn()::text")[0]
        if fault == "fence forgotten":
            time.sleep(2)
        for gate in self.gates:
            gate.close(gate.reads, "hold-reads")
        time.sleep(0.3)
        migration = (GUESTBOOK / "migrations" / "0003_split_author.up.sql").read_text()
        postgres.query("BEGIN; SET LOCAL lock_timeout = '10s'; " + migration +
                       "; INSERT INTO sluice.migration VALUES ('0003'); COMMIT")
        for number, (node, gate) in enumerate(zip(self.nodes, self.gates)):
            if not (fault == "node forgotten" and number == 2):
                node.activate("v2", 2)
            gate.open(gate.reads, "hold-reads")
        lift_began = time.time()
        postgres.query("BEGIN; INSERT INTO sluice.fence VALUES ('lifting'); %s COMMIT" % (
            FENCE_DOWN if fault != "fence forgotten" else ""))
        lift_ended = time.time()
        for gate in self.gates:
            gate.open(gate.writes, "read-only")
        if fault == "write lost":
            postgres.query("DELETE FROM public.entry WHERE id = (SELECT max(id) FROM public.entry)")
        return checker.Window("v1", "v2", int(census), lsn, lift_began, lift_ended + 0.05)

    def raise_fence(self):
        def attempt():
            try:
                self.postgres.query("BEGIN; SET LOCAL lock_timeout = '300ms'; %s COMMIT" % FENCE_UP)
                return True
            except Exception as error:
                if "lock timeout" not in str(error):
                    raise
                return False
        self.postgres.query(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename LIKE 'guestbook%' AND xact_start IS NOT NULL")
        wait_until("the fence is up", attempt)
        instant = self.postgres.query("SELECT clock_timestamp()")[0][0]
        older = "pg_stat_activity WHERE usename LIKE 'guestbook%%' AND xact_start < %s"
        self.postgres.query("SELECT pg_terminate_backend(pid) FROM " + older, (instant,))
        wait_until("older transactions have ended",
                   lambda: self.postgres.query("SELECT count(*) FROM " + older, (instant,))[0][0] == 0)


def judge(fault):
    """The claims after an upgrade with that fault, by their text."""
    with ByHand(entries=500) as fleet:
        checker.prepare_proof(fleet.postgres)
        fleet.start_clients()
        time.sleep(3)
        window = fleet.upgrade(fault)
        time.sleep(3)
        fleet.stop_clients()
        return [
            checker.reads(fleet.notes), checker.stale_pages(fleet.notes, window),
            checker.old_assets(fleet.notes, window), *checker.writes(fleet.notes, fleet.postgres),
            checker.refused(fleet.notes, "hold"), checker.commits_in_window(fleet.postgres, fleet.notes, window)]


# A fault, and the claim that must fall.
CASES = {
    "none": None,
    "gate left open": "writes refused or failed while held",
    "fence forgotten": "write commits between census and lift",
    "node forgotten": "pages of the old release after the lift",
    "assets pruned": "assets missing for pages loaded before the flip",
    "write lost": "acknowledged writes lost",
}


def main():
    interrupt_on_signals()
    wrong = 0
    for fault in sys.argv[1:] or CASES:
        print("%s:" % fault, flush=True)
        claims = judge(None if fault == "none" else fault)
        checker.print_table(claims)
        fallen = [claim.text for claim in claims if not claim.holds]
        expected = CASES[fault]
        good = not fallen if expected is None else expected in fallen
        wrong += not good
        print("  %s" % ("as it should be" if good else "WRONG: fallen are %s" % fallen), flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
