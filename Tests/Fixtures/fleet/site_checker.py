# SPDX-License-Identifier: Apache-2.0
"""What a site's clients saw, compared with its database and its files."""

import collections
import json
import pathlib

import site_tabs
from checker import Claim, acknowledged, notes_of, notices
from processes import wait_until


def sessions(directory):
    """Pages of people who are logged in, which save their session with each view."""
    notes = [note for note in notes_of(directory, "reader") if note["session"]]
    failed = [note for note in notes if "problem" in note]
    return Claim("reads of people who are logged in that failed", "%d of %d" % (len(failed), len(notes)), "0",
                 not failed and bool(notes), [json.dumps(note) for note in failed[:10]])


def mode(directory, seen):
    """What code and templates were told. `seen`: an answer behind the fence, of somebody who is logged in; nothing where none was asked for."""
    flags = [note["flags"] for note in notes_of(directory, "reader") if "flags" in note]
    apart = [pair for pair in flags if pair[0] != pair[1]]
    claims = [Claim("pages on which code and template are told another mode", "%d of %d, %d of them read-only" % (
        len(apart), len(flags), sum(code and template for code, template in flags)), "0", not apart and bool(flags))]
    if seen is not None:
        wanted = ["HTTP/1.1 200", "X-Read-Only: true", "read-only for a moment", "Logged in as"]
        missing = [text for text in wanted if text not in seen]
        claims.append(Claim("behind the fence, of a page of somebody who is logged in, the flag in its code and template: missing",
                            ", ".join(missing) or "nothing", "nothing", not missing, [seen]))
    return claims


def errors(directory):
    """Whatever was asked for, besides what is refused politely: 503 with Retry-After."""
    notes = notes_of(directory, "reader") + notes_of(directory, "writer")
    wrong = [note for note in notes if note["status"] >= 400 and not (note["status"] == 503 and note.get("retry_after"))]
    return Claim("answers of 4xx and 5xx, to whomever", "%d of %d" % (len(wrong), len(notes)), "0", not wrong and bool(notes),
                 [json.dumps(note) for note in wrong[:10]])


def writes(directory, postgres, media, table):
    """The ledger against the database and the uploads: nothing lost, nothing twice, author and file as they were sent."""
    ledger = acknowledged(directory)[table]
    column = postgres.query(
        "SELECT attname FROM pg_attribute WHERE attrelid = 'public.%s'::regclass"
        " AND attname IN ('author', 'written_by') AND NOT attisdropped" % table)[0][0]
    rows = postgres.query("SELECT request_id::text, %s, cover FROM public.%s" % (column, table))
    stored = {key: (author, cover) for key, author, cover in rows}
    lost = [note for key, note in ledger.items() if stored.get(key, ("", ""))[0] != note["author"]]
    twice = [key for key, number in collections.Counter(row[0] for row in rows).items() if number > 1]
    uploads = [key for key in ledger if key in stored and not holds(media, stored[key][1], key)]
    return [
        Claim("acknowledged writes lost or changed", "%d of %d" % (len(lost), len(ledger)), "0", not lost and bool(ledger),
              [json.dumps(note, ensure_ascii=False) for note in lost[:10]]),
        Claim("writes stored twice", str(len(twice)), "0", not twice, twice[:10]),
        Claim("uploads lost or changed", str(len(uploads)), "0", not uploads, uploads[:10])]


def images(directory, postgres, media):
    """What editors have uploaded: each once, with its file, and nothing lost."""
    ledger = acknowledged(directory)["wagtailimages_image"]
    rows = postgres.query("SELECT title, file FROM wagtailimages_image")
    stored = collections.Counter(title for title, _ in rows)
    files = {title for title, file in rows if holds(media, file, title)}
    wrong = [key for key in ledger if stored[key] != 1 or key not in files]
    twice = [title for title, number in stored.items() if number > 1]
    return Claim("acknowledged images of editors lost, doubled or without their file", "%d of %d" % (len(wrong) + len(twice), len(ledger)),
                 "0", not wrong and not twice and bool(ledger), [*wrong, *twice][:10])


def holds(media, cover, key):
    path = pathlib.Path(media) / cover
    return path.is_file() and key in path.read_text()


def jobs(postgres, queue, lift_ended_at):
    """The worker: every job was done by somebody, and none by the old release after the lift."""
    try:
        wait_until("every job is done", lambda: postgres.query("SELECT count(*) FROM %s WHERE done_at IS NULL" % queue)[0][0] == 0)
    except TimeoutError:
        pass
    waiting, done = postgres.query("SELECT count(*) FILTER (WHERE done_at IS NULL), count(done_at) FROM %s" % queue)[0]
    late = postgres.query("SELECT count(*) FROM %s WHERE done_by = 'v1' AND done_at > to_timestamp(%%s)" % queue, (lift_ended_at,))
    return [
        Claim("jobs that no worker took", "%d of %d" % (waiting, waiting + done), "0", waiting == 0 and done > 0),
        Claim("jobs done by v1's workers after the lift", str(late[0][0]), "0", late[0][0] == 0)]


def cron(directory):
    runs = notes_of(directory, "cron")
    failed = [note for note in runs if note["status"] != 0]
    return Claim("runs of the cron job that failed", "%d of %d" % (len(failed), len(runs)), "0", not failed and bool(runs),
                 [json.dumps(note) for note in failed[:5]])


def tab_shows(directory, tab):
    """The releases that an open page has shown, one after the other."""
    return [note["release"] for note in notes_of(directory, "site-tabs") if note["kind"] == "shown" and note["tab"] == tab]


def tabs(directory, postgres, table, journals):
    """Pages of somebody who is logged in, over two upgrades: what they were told, that one was renewed once each, and each form."""
    notes, names = notes_of(directory, "site-tabs"), ["reading", *("writing-%d" % number for number in range(site_tabs.FORMS))]
    told = collections.defaultdict(list)
    for note in notes:
        if note["kind"] == "told" and note["tab"] in names:
            told[note["tab"]].append(note)
    wrong = ["%s was told %s" % (tab, [note["readOnly"] for note in told[tab]]) for tab in names
             if [note["readOnly"] for note in told[tab]] != [True, False] * 2]
    assets = [note for note in notes if note["kind"] == "asset"]
    problems = [json.dumps(note) for note in notes if note["kind"] == "problem"]
    problems += [json.dumps(note) for note in assets if note["status"] != 200]
    shown = tab_shows(directory, "reading")
    forms = {note["tab"]: note for note in notes if note["kind"] == "sent"}
    lost = []
    for number in range(site_tabs.FORMS):
        typed = [site_tabs.TITLE % number, site_tabs.AUTHOR % number]
        stored = postgres.query("SELECT written_by FROM public.%s WHERE title = %%s" % table, (typed[0],))
        sent = forms.get("writing-%d" % number, {})
        if sent.get("kept") != typed or [row[0] for row in stored] != typed[1:] or tab_shows(directory, "writing-%d" % number) != ["v1", "v3"]:
            lost.append("%s; stored: %s" % (json.dumps(sent), stored))
    return [
        Claim("Chromium: open pages not told of the window and of its end", "%d of %d" % (len(wrong), len(names)), "0", not wrong, wrong),
        *notices(told, journals),
        Claim("Chromium: the open page that is only read showed", ">".join(shown), "v1>v2>v3", shown == ["v1", "v2", "v3"]),
        Claim("Chromium: what failed in open pages, assets of v1 among it", "%d; %d assets of v1 asked for" % (len(problems), len(assets)), "0",
              not problems and bool(assets), problems),
        Claim("Chromium: forms half typed on v1 and sent on v3, lost or stored twice", "%d of %d" % (len(lost), site_tabs.FORMS), "0",
              not lost, lost)]


def tool_runs(journal, outputs):
    """`outputs`: files in which actions of the run have said that the first migration was applied."""
    told = [fact for fact in journal.facts if fact.type == "tool-ended" and "preview" not in fact.body]
    return Claim("runs of the tool: by the journal, by what it printed", "%d, %d" % (len(told), len(outputs)), "1, 1",
                 len(told) == len(outputs) == 1, [str(fact.body) for fact in told] + [str(path) for path in outputs])


def own_ledger(postgres, site, expected):
    """What the site's own tool believes."""
    found = [row[0] for row in postgres.query(site.ledger)]
    return Claim("the ledger of the site's own tool", ", ".join(found), ", ".join(expected), found == expected)
