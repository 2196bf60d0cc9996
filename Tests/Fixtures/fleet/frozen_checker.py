# SPDX-License-Identifier: Apache-2.0
"""What is claimed of a fleet that reads from a frozen standby, from the notes of its clients and of both servers."""

import pathlib

from checker import Claim, notes_of

GAP_TARGET = 0.5
LATENCY_TARGET_MS = 25
WINDOW_TARGET_MS = 150
PROMOTION_TARGET_MS = 300
# Beyond the migration and the slowest start, where the release starts after the migration.
START_TARGET_MS = 1000


def pages(directory):
    return [note for note in notes_of(directory, "reader") if note["kind"] != "asset"]


def count_of_reads(directory):
    return sum(path.read_bytes().count(b"\n") for path in directory.glob("reader-*.ndjson"))


def mixed(directory, fleet):
    """Each answer is of the old release on the old schema, or of the new one on the new schema of the primary."""
    primary, standby = fleet.postgres.port, fleet.standby.port
    allowed = {("v1", "%d old" % primary), ("v1", "%d old" % standby), ("v2", "%d new" % primary)}
    # An answer that needs no database has no schema while its server is away.
    answers = [note for note in pages(directory) + notes_of(directory, "writer")
               if note.get("database") and not note["database"].endswith(" unknown")]
    wrong = [note for note in answers if (note["release"], note["database"]) not in allowed]
    counts = {}
    for note in answers:
        port, schema = note["database"].partition(" ")[::2]
        server = {str(primary): "P", str(standby): "S"}.get(port, port)
        pair = "%s/%s %s" % (note["release"], server, schema)
        counts[pair] = counts.get(pair, 0) + 1
    return Claim("answers of a mixed pair of code, server and schema", "%d of %d (%s)" % (
        len(wrong), len(answers), ", ".join("%s %d" % pair for pair in sorted(counts.items()))),
        "0", not wrong and len(answers) > 0, [str(note) for note in wrong[:10]])


def read_from(directory, fleet, servers):
    """Which of the servers have answered reads of the old release."""
    ports = {str(fleet.postgres.port): "P", str(fleet.standby.port): "S"}
    found = {ports.get(note["database"].split()[0]) for note in pages(directory)
             if note.get("database") and note["release"] == "v1"}
    return Claim("servers that the old release read from", " ".join(sorted(map(str, found))), servers,
                 found == set(servers.split()))


def longest_gap(directory):
    """The longest time in which no page of the fleet was answered."""
    ended = sorted(note["ended"] for note in pages(directory) if note["status"] == 200)
    gap = max((later - earlier for earlier, later in zip(ended, ended[1:])), default=0)
    return Claim("longest time without an answer of the fleet", "%.0f ms" % (gap * 1000), "<= %.0f ms" % (GAP_TARGET * 1000),
                 0 < gap <= GAP_TARGET, is_speed=True), gap


def latency(directory, began, ended):
    """How much slower the slowest of a thousand reads is in the window than before it."""
    def slowest(notes):
        times = sorted(note["ended"] - note["began"] for note in notes if note["status"] == 200)
        return times[min(len(times) - 1, int(len(times) * 0.999))] * 1000 if times else 0
    reads = notes_of(directory, "reader")
    before = slowest([note for note in reads if note["ended"] < began])
    within = slowest([note for note in reads if note["ended"] >= began and note["began"] <= ended])
    return Claim("99.9th percentile of a read, added by the window", "%.0f ms (%.0f ms, before %.0f ms)" % (
        within - before, within, before), "<= %d ms" % LATENCY_TARGET_MS, within - before <= LATENCY_TARGET_MS,
        is_speed=True), within - before


def window(journal, start=None):
    """The write window, beyond what the migration itself takes; `start`: the slowest start of a release that has to start in it, in
    seconds, is not counted either, and the target is another one."""
    whole, migration = journal.write_window() * 1000, journal.migration_time() * 1000
    rest = whole - migration - (start or 0) * 1000
    target = WINDOW_TARGET_MS if start is None else START_TARGET_MS
    more = "" if start is None else " and slowest start"
    return Claim("write window minus migration%s" % more, "%.0f ms (%.0f ms, migration %.0f ms%s)" % (
        rest, whole, migration, "" if start is None else ", slowest start %.0f ms" % (start * 1000)),
        "<= %d ms" % target, rest <= target, is_speed=True), rest


# Replication


_REPLICATION = {
    "settings": "SELECT name, setting, coalesce(sourcefile, '') FROM pg_settings"
                " WHERE source NOT IN ('client', 'session') ORDER BY 1",
    "slots": "SELECT slot_name, plugin, slot_type, temporary, active, wal_status FROM pg_replication_slots ORDER BY 1",
    "senders": "SELECT application_name, usename, state, sync_state FROM pg_stat_replication ORDER BY 1",
    "receivers": "SELECT status, slot_name FROM pg_stat_wal_receiver",
    "recovery": "SELECT pg_is_in_recovery(), pg_is_wal_replay_paused() FROM (SELECT 1) AS one WHERE pg_is_in_recovery()"}


def replication(fleet):
    """Everything about replication on both servers, with each line of the settings' files."""
    parts = {}
    for server in (fleet.postgres, fleet.standby):
        parts["replication on %s" % server.name] = "".join(
            "%s: %s\n" % (name, " | ".join(map(str, row)))
            for name, rows in server.query_all(_REPLICATION).items() for row in rows) + signals(server)
        parts["files of %s" % server.name] = files(server)
    if fleet.patroni:
        parts["Patroni"] = fleet.patroni.state()
    return parts


def signals(server):
    return "".join("%s: %s\n" % (name, (pathlib.Path(server.data) / name).exists()) for name in ("standby.signal", "recovery.signal"))


def files(server):
    """The settings of a server as they lie on its disk."""
    lines = []
    for name in ("postgresql.conf", "postgresql.auto.conf", "pg_hba.conf"):
        found = (pathlib.Path(server.data) / name).read_text().splitlines()
        # ALTER SYSTEM writes what it changes at the end of its file: the order there says nothing.
        lines += ["%s: %s" % (name, line) for line in (sorted(found) if name == "postgresql.auto.conf" else found)]
    return "\n".join(lines) + "\n"


# The way back by promotion


def one_primary(asking):
    """Both servers were asked all the time: since the standby has taken a write the primary has taken none."""
    first = min((began for name, _, began, _ in asking.taken if name == "standby"), default=None)
    late = [note for note in asking.taken if first is not None and note[0] == "postgres" and note[3] >= first]
    taken = {name: sum(1 for note in asking.taken if note[0] == name) for name in asking.asked}
    return Claim("writes that the old primary took once the standby took one", "%d (%s)" % (len(late), ", ".join(
        "%s took %d of %d, not asked for %.0f ms at most" % (name, taken[name], asked, asking.longest[name] * 1000)
        for name, asked in asking.asked.items())),
        "0", not late and all(asking.asked.values()), [str(note) for note in late[:10]])


def asked_writes_kept(asking, server):
    """What either server has taken of the questions is there."""
    stored = {key for key, in server.query("SELECT request_id::text FROM public.visit WHERE how = 'asked'")}
    lost = [note for note in asking.taken if note[1] not in stored]
    return Claim("writes taken by either server and lost", "%d of %d" % (len(lost), len(asking.taken)), "0",
                 not lost and bool(asking.taken), [str(note) for note in lost[:10]])


def decision_to_write(directory, journal, fleet):
    """From the decision to go back to the first write that somebody got acknowledged."""
    decided = min((fact.at for fact in journal.facts if fact.type == "turned-back"), default=None)
    standby = str(fleet.standby.port)
    writes = [note["ended"] for note in notes_of(directory, "writer")
              if note["outcome"] == "acknowledged" and (note.get("database") or "").startswith(standby)]
    if decided is None or not writes:
        return Claim("from the decision to the first write", "no write on the standby", "some", False), None
    took = (min(writes) - decided) * 1000
    return Claim("from the decision to the first write", "%.0f ms" % took, "<= %d ms" % PROMOTION_TARGET_MS,
                 took <= PROMOTION_TARGET_MS, is_speed=True), took
