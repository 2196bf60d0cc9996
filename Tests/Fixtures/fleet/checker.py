# SPDX-License-Identifier: Apache-2.0
"""What the clients saw, compared with each other and with the database: each claim becomes a line with its figure."""

import collections
import dataclasses
import datetime
import json
import statistics

import chromium
import open_tabs as open_tabs_client


@dataclasses.dataclass
class Claim:
    """One line of the table: what is claimed, what was measured, what it should be."""

    text: str
    measured: str
    target: str
    holds: bool
    details: list = dataclasses.field(default_factory=list)
    # How fast it was: that depends on the machine, so nobody is judged by it.
    is_speed: bool = False

    @property
    def word(self):
        return "ok" if self.holds else "missed" if self.is_speed else "FAIL"


@dataclasses.dataclass
class Window:
    """What the run's report says of its write window; instants are seconds since 1970."""

    old_release: str
    new_release: str
    census_transaction: int
    fence_lsn: str
    lift_began_at: float
    lift_ended_at: float


def notes_of(directory, prefix):
    """Every complete line of the clients' files; a client that was ended may have left half a line at the end."""
    found = []
    for path in sorted(directory.glob("%s-*.ndjson" % prefix)):
        with open(path, encoding="utf-8") as lines:
            for line in lines:
                if line.endswith("\n"):
                    found.append(json.loads(line))
    return found


# Readers


def reads(directory, is_excused=lambda note: False):
    """No read failed, was mixed, or had an asset of another release. `is_excused`: of a server that was away, where nobody else could
    have answered."""
    notes = notes_of(directory, "reader") + notes_of(directory, "tabs")
    problems = [note for note in notes if "problem" in note]
    failed = [note for note in problems if not is_excused(note)]
    excused = len(problems) - len(failed)
    slowest = max((note["ended"] - note["began"] for note in notes), default=0)
    median = statistics.median(note["ended"] - note["began"] for note in notes) if notes else 0
    return Claim(
        "reads failed through the load balancer",
        "%d of %d (median %.0f ms, slowest %.0f ms%s)" % (
            len(failed), len(notes), median * 1000, slowest * 1000,
            ", and %d more of the server that was away" % excused if excused else ""),
        "0", not failed and len(notes) > 0, [json.dumps(note) for note in failed[:10]])


def stale_pages(directory, window):
    """No page of the old release began after the lift; and the caches were really in use, before and after."""
    notes = [note for note in notes_of(directory, "reader") if note["kind"] != "asset" and note["status"] == 200]
    late = [note for note in notes if note["began"] > window.lift_ended_at]
    stale = [note for note in late if note["release"] != window.new_release]
    hits = sum(1 for note in late if note["cache"] == "HIT")
    earlier = sum(1 for note in notes if note["cache"] == "HIT" and note["release"] == window.old_release)
    return Claim(
        "pages of the old release after the lift",
        "%d of %d (%d from a cache; before: %d)" % (len(stale), len(late), hits, earlier),
        "0", not stale and hits > 0 and earlier > 0, [json.dumps(note) for note in stale[:10]])


def old_assets(directory, window):
    """Tabs that were opened on the old release still got their assets after the lift."""
    late = [note for note in notes_of(directory, "tabs") if note["kind"] == "asset"
            and note["of"] == window.old_release and note["began"] > window.lift_ended_at]
    failed = [note for note in late if "problem" in note]
    return Claim(
        "assets missing for pages loaded before the flip",
        "%d of %d fetched after the lift" % (len(failed), len(late)), "0", not failed and len(late) > 0,
        [json.dumps(note) for note in failed[:10]])


def browser(directory, old_release, new_release):
    """A real browser showed every page whole; the tab left open on the old release still had its assets, and its form went through."""
    notes = notes_of(directory, "chromium")
    shown = collections.Counter(note["release"] for note in notes if note["kind"] == "shown")
    problems = [note for note in notes if note["kind"] == "problem"]
    problems += [note for note in notes if note["kind"] == "old-asset" and note["status"] != 200]
    assets = sum(1 for note in notes if note["kind"] == "old-asset")
    forms = [note["release"] for note in notes if note["kind"] == "old-form"]
    left = [note["release"] for note in notes if note["kind"] == "left-open"]
    return Claim(
        "Chromium: requests or scripts that failed",
        "%d; showed %d pages of %s, %d of %s; the tab left open got %d assets again, its form came to %s" % (
            len(problems), shown[old_release], old_release, shown[new_release], new_release, assets,
            "".join(forms) or "nobody"),
        "0", not problems and shown[old_release] > 0 and shown[new_release] > 0 and assets > 0
        and left == [old_release] and forms == [new_release], [json.dumps(note) for note in problems[:10]])


NOTICE_TARGET_MS = 1000
# Those of the pages that are open in which nothing is typed.
IDLE = ("reading", "late")


def renewed(directory, release):
    """Whether the open pages in which nothing is typed show a release."""
    last = {note["tab"]: note["release"] for note in notes_of(directory, "open-tabs") if note["kind"] == "shown"}
    return all(last.get(tab) == release for tab in IDLE)


def open_tabs(directory, postgres, journals):
    """Pages that carry the browser script, over two upgrades: what they were told, that they were renewed once, and their form."""
    notes = notes_of(directory, "open-tabs")
    told, shown = collections.defaultdict(list), collections.defaultdict(list)
    for note in notes:
        if note["kind"] == "told":
            told[note["tab"]].append(note)
        elif note["kind"] == "shown":
            shown[note["tab"]].append(note["release"])
    wrong = ["%s was told %s" % (tab, [note["readOnly"] for note in told[tab]]) for tab in (*IDLE, "writing")
             if [note["readOnly"] for note in told[tab]] != [True, False] * 2]
    # The form that is sent leads to a page of the last release; what is shown before it is the first.
    problems = [json.dumps(note) for note in notes if note["kind"] == "problem" or (note["kind"] == "asset" and note["status"] != 200)]
    problems += ["%s showed %s" % (tab, shown[tab]) for tab in IDLE if shown[tab] not in (["v1", "v2", "v3"], ["v2", "v3"])]
    assets = sum(1 for note in notes if note["kind"] == "asset")
    sent = [note for note in notes if note["kind"] == "sent"]
    stored = postgres.query("SELECT count(*) FROM entry WHERE message = %s", (open_tabs_client.WORDS,))[0][0]
    is_kept = [note["kept"] for note in sent] == [open_tabs_client.WORDS] and shown["writing"] == ["v1", "v3"]
    followed = [note for note in notes if note["kind"] == "followed"]
    # Readers may be held in the window: who begins to listen there hears the old release, or the new one as the first.
    dead = ["%s heard %s, state %s" % (name, releases, note["states"].get(name)) for note in followed
            for name, releases in note["heard"].items()
            if releases[-2:] != ["v2", "v3"] or releases[:-2] not in ([], ["v1"]) or note["states"].get(name) != 1]
    streams = sum(len(note["heard"]) for note in followed)
    return [
        Claim("Chromium: EventSources of the application that did not come back by themselves", "%d of %d" % (len(dead), streams), "0",
              not dead and streams == 2, dead),
        Claim("Chromium: open pages not told of the window and of its end",
              "%d of %d" % (len(wrong), len(IDLE) + 1), "0", not wrong, wrong),
        *notices(told, journals),
        Claim("Chromium: open pages renewed more than once, or that failed",
              "%d; reading showed %s, opened in the window %s" % (len(problems), ">".join(shown["reading"]), ">".join(shown["late"])),
              "0", not problems, problems),
        Claim("Chromium: a form half typed on v1 and sent on v3", "stored %d times; %d assets of v1 still there" % (stored, assets),
              "once", stored == 1 and is_kept and assets > 0, [json.dumps(note) for note in sent] + ["showed %s" % shown["writing"]])]


def notices(told, journals):
    """How soon the open pages said that the gates had closed, and that they had opened, counted from the order to do so."""
    claims = []
    for place, (words, step) in enumerate([("closed", "nodes:closed"), ("opened again", "nodes:opened")]):
        delays = [((note["at"] - journal.step(step)[0]) * 1000, tab) for tab in told for turn, journal in enumerate(journals)
                  # The page that is opened in the window is told of it when it comes.
                  for note in told[tab][2 * turn + place:][:1] if tab != "late" or turn or place]
        slowest, tab = max(delays, default=(0, "nobody"))
        claims.append(Claim(
            "Chromium: until every open page says that the gates have %s" % words,
            "%.0f ms after the order, the slowest of %d (%s)" % (slowest, len(delays), tab), "<= %d ms" % NOTICE_TARGET_MS,
            bool(delays) and slowest <= NOTICE_TARGET_MS, is_speed=bool(delays)))
    return claims


def report_page(path):
    """The run's report, laid out by a real browser."""
    wrong, texts, bars = chromium.look_at_report(path)
    return Claim("Chromium: faults of the report's page", "%d; %d texts and %d bars in its picture" % (len(wrong), texts, bars),
                 "0", not wrong and texts > 0 and bars > 0, wrong[:10])


# Writers


def acknowledged(directory):
    """The ledger: every write that was acknowledged, by table and key."""
    found = collections.defaultdict(dict)
    for note in notes_of(directory, "writer") + notes_of(directory, "sneaky"):
        if note["outcome"] == "acknowledged":
            found[note["table"]][note["key"]] = note
    return found


def writes(directory, postgres):
    """The ledger against the database: nothing lost, nothing twice, every name as it was written."""
    ledger = acknowledged(directory)
    lost, twice, garbled = [], [], []
    columns = {row[0] for row in postgres.query(
        "SELECT attname FROM pg_attribute WHERE attrelid = 'public.entry'::regclass AND attnum > 0 AND NOT attisdropped")}
    author = "author" if "author" in columns else (
        "CASE family_name WHEN '' THEN given_name ELSE given_name || ' ' || family_name END")
    stored = {
        "entry": postgres.query("SELECT request_id::text, %s FROM public.entry" % author),
        "visit": postgres.query("SELECT request_id::text, how FROM public.visit")}
    for table, rows in stored.items():
        count = collections.Counter(key for key, _ in rows)
        names = dict(rows)
        for key, note in ledger[table].items():
            if count[key] == 0:
                lost.append(note)
            elif table == "entry" and names[key] != note["author"]:
                garbled.append({**note, "stored": names[key]})
        twice += [key for key, number in count.items() if number > 1]
    total = sum(len(keys) for keys in ledger.values())
    return [
        Claim("acknowledged writes lost", "%d of %d" % (len(lost), total), "0",
              not lost and len(ledger["entry"]) > 0, [json.dumps(note) for note in lost[:10]]),
        Claim("writes stored twice", str(len(twice)), "0", not twice, twice[:10]),
        Claim("names changed on the way", str(len(garbled)), "0", not garbled,
              [json.dumps(note, ensure_ascii=False) for note in garbled[:10]]),
    ]


def refused(directory, policy, is_excused=lambda note: False):
    """`hold`: no write was refused. `refuse`: refused with 503 and Retry-After, and with nothing else. `either`: both may be.

    `is_excused`: as for reads; what became of such a write is told by the next attempt."""
    notes = [note for note in notes_of(directory, "writer") if "problem" not in note or not is_excused(note)]
    turned_away = [note for note in notes if note["outcome"] == "refused"]
    by_fence = [note for note in turned_away if note["by"] != "gate"]
    wrong = [note for note in notes if note["outcome"] in ("unknown", "rejected")]
    longest = max((note["ended"] - note["began"] for note in notes), default=0)
    if policy == "hold":
        bad = turned_away + wrong
        return Claim("writes refused or failed while held",
                     "%d of %d attempts (longest wait %.0f ms)" % (len(bad), len(notes), longest * 1000), "0", not bad,
                     [json.dumps(note) for note in bad[:10]])
    wrong += [note for note in turned_away if not note["retry_after"]]
    return Claim("answers to writes other than 303 and 503 with Retry-After",
                 "%d (%d refused, of them %d by the fence)" % (len(wrong), len(turned_away), len(by_fence)), "0",
                 not wrong and (policy == "either" or len(turned_away) > 0), [json.dumps(note) for note in wrong[:10]])


# The database


def prepare_proof(postgres):
    """From now on the database keeps what every transaction changed, in the order of their commits."""
    postgres.query("SELECT pg_create_logical_replication_slot('proof', 'test_decoding')")


@dataclasses.dataclass
class Transaction:
    number: int
    lsn: int
    committed_at: float
    tables: collections.Counter

    def is_ours(self):
        """Whether it wrote to Sluice's own tables, which no application may."""
        return any(table.startswith("sluice.") for table in self.tables)

    def application_tables(self):
        return sorted(table for table in self.tables if not table.startswith("sluice."))


def transactions(postgres):
    """Every transaction that committed since `prepare_proof`, read out of the write-ahead log."""
    found, tables = [], collections.Counter()
    rows = postgres.query(
        "SELECT lsn - '0/0'::pg_lsn, xid::text, data FROM pg_logical_slot_peek_changes('proof', NULL, NULL,"
        " 'include-timestamp', 'on', 'skip-empty-xacts', 'off')")
    for lsn, number, data in rows:
        if data.startswith("BEGIN"):
            tables = collections.Counter()
        elif data.startswith("table "):
            tables[data[len("table "):].split(": ", 1)[0]] += 1
        elif data.startswith("COMMIT"):
            instant = datetime.datetime.fromisoformat(_seconds(data.split("(at ", 1)[1].rstrip(")")))
            found.append(Transaction(int(number), int(lsn), instant.timestamp(), tables))
    return found


def _seconds(text):
    """PostgreSQL shortens the zone (`+00`) and the fraction, which Python 3.11 reads only in full."""
    return text + ":00" if text[-3] in "+-" else text


def _position(lsn):
    high, low = lsn.split("/")
    return (int(high, 16) << 32) + int(low, 16)


def commits_in_window(postgres, directory, window, ledger=None):
    """Between census and lift the log holds no commit that changed an application's table, but for the migration.

    `ledger`: the table in which an application's own tool notes each of its transactions, in the same transaction.
    """
    closed = _position(window.fence_lsn)
    every = transactions(postgres)
    # The lift is the first transaction after the census that touches the fence's own row: an order, not two clocks.
    # A tool is let in and out by that row as well, so that there it is the first one since the lift was asked for.
    lift = next((each.lsn for each in every if each.lsn > closed and "sluice.fence" in each.tables
                 and not (ledger and each.committed_at < window.lift_began_at)), None)
    inside = [each for each in every if each.lsn > closed
              and (each.lsn < lift if lift is not None else each.committed_at < window.lift_began_at)]
    foreign = [each for each in inside
               if each.application_tables() and not each.is_ours() and ledger not in each.tables]
    ours = sum(1 for each in inside if each.is_ours())
    census_at = max((each.committed_at for each in every if each.lsn <= closed), default=0)
    sneaks = notes_of(directory, "sneaky")
    tried = [note for note in sneaks if census_at < note["ended"] and note["began"] < window.lift_began_at]
    techniques = {note["how"] for note in tried}
    return Claim(
        "write commits between census and lift",
        "%d of %d transactions in the log (%d of Sluice, %d without rows); %d attempts by %d techniques" % (
            len(foreign), len(inside), ours, sum(1 for each in inside if not each.tables), len(tried), len(techniques)),
        "0", not foreign and bool(inside),
        ["transaction %d at %.3f wrote %s" % (each.number, each.committed_at, each.application_tables())
         for each in foreign[:10]])


def print_json(claims, good):
    print(json.dumps({"ok": good, "claims": [dataclasses.asdict(claim) for claim in claims]}, ensure_ascii=False))


def print_table(claims, write=print):
    width = max(len(claim.text) for claim in claims)
    measured = max(len(claim.measured) for claim in claims)
    for claim in claims:
        write("  %-*s  %-*s  target %-12s %s" % (
            width, claim.text, measured, claim.measured, claim.target, claim.word))
        if not claim.holds:
            for detail in claim.details:
                write("      %s" % detail)
    return all(claim.holds or claim.is_speed for claim in claims)
