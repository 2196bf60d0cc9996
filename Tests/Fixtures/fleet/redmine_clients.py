# SPDX-License-Identifier: Apache-2.0
"""The clients of Redmine: people who are logged in and people who are not, authors of issues with a file and of notes, pages that stay open,
and what sends mail.

    redmine_clients.py reader|anonymous|writer|tabs|mail --out DIRECTORY --url URL [--rate PER_SECOND] [--threads N] [--seed N] [--mail DIRECTORY]
"""

import argparse
import html
import pathlib
import random
import re
import threading
import time
import uuid

import clients
from clients import FAILURES, Notes, paced
from site_clients import PASSWORD, READER, Visitor

# Longer than the gate's longest hold.
clients.TIMEOUT = 360.0
PROJECT = "Readers and writers"
ISSUES = "/projects/demo/issues"
_TOKEN = re.compile(r'name="authenticity_token" value="([^"]+)"')
_ASSET = re.compile(r'(?:src|href)="(/(?:assets|javascripts|stylesheets)/[^"]+)"')
_ISSUE = re.compile(r'href="(/issues/\d+)"')


class Member(Visitor):
    def __init__(self, url):
        super().__init__(url, "issues")

    def log_in(self):
        """Before the upgrade: a failure here is the harness's own."""
        _, _, page = self.request("GET", "/login")
        status, _, text = self.request(
            "POST", "/login", {"username": READER, "password": PASSWORD, "authenticity_token": token_of(page)})
        if status != 302:
            raise RuntimeError("could not log in: status %d: %s" % (status, text[:500]))


def token_of(page):
    found = _TOKEN.search(page)
    return html.unescape(found[1]) if found else ""


def read(member, notes, path, kind="page", contains=PROJECT, logged_in=False):
    """Reads one page or asset and notes it. Returns its text, or nothing when the read failed."""
    note = {"kind": kind, "path": path, "session": logged_in, "began": time.time()}
    try:
        status, headers, text = member.request("GET", path)
    except FAILURES as error:
        notes.add(**note, ended=time.time(), status=0, problem="%s: %s" % (type(error).__name__, error))
        return None
    note.update(ended=time.time(), status=status, node=headers.get("X-Node"), release=headers.get("X-Release"), cache=None)
    if status != 200 or contains not in text:
        note["problem"] = "status %d: %s" % (status, text[:300])
        if headers.get("Retry-After"):
            note["retry_after"] = headers["Retry-After"]
    elif logged_in and 'class="logout"' not in text:
        note["problem"] = "the session was forgotten"
    notes.add(**note)
    return text if status == 200 else None


def reader(arguments, notes, chance, logged_in=True):
    member, links = Member(arguments.url), ["/issues/1"]
    if logged_in:
        member.log_in()
    for _ in paced(arguments.rate, chance):
        choice = chance.random()
        if choice < 0.4:
            page = read(member, notes, ISSUES, logged_in=logged_in)
            links = _ISSUE.findall(page or "") or links
        elif choice < 0.7:
            page = read(member, notes, chance.choice(links), logged_in=logged_in)
        elif choice < 0.8 and logged_in:
            page = read(member, notes, ISSUES + "/new", logged_in=logged_in)
        else:
            page = read(member, notes, "/projects/demo" if choice < 0.9 else "/projects/demo/activity", logged_in=logged_in)
        for asset in _ASSET.findall(page or "")[:2]:
            read(member, notes, asset, kind="asset", contains="")


def tabs(arguments, notes, chance):
    """A page that was loaded once, whose styles and scripts are asked for again all the time."""
    member = Member(arguments.url)
    page = read(member, notes, ISSUES)
    assets = _ASSET.findall(page or "")
    if not assets:
        notes.add(kind="page", began=time.time(), ended=time.time(), status=200, problem="the page names no asset: %s" % (page or "")[:300])
    for _ in paced(arguments.rate, chance):
        for asset in assets:
            read(member, notes, asset, kind="asset", contains="")


def writer(arguments, notes, chance):
    member, page = Member(arguments.url), None
    member.log_in()
    for _ in paced(arguments.rate, chance):
        if page is None:
            try:
                status, _, page = member.request("GET", ISSUES + "/new")
            except FAILURES:
                continue
            if status != 200:
                page = None
                continue
        key = str(uuid.UUID(int=chance.getrandbits(128), version=4))
        form = {"authenticity_token": token_of(page), "issue[tracker_id]": "1", "issue[subject]": key, "issue[description]": "Of " + key}
        place = write(member, notes, "issues", key, ISSUES, form, with_file=True)
        if place is not None:
            write(member, notes, "journals", key, place, {
                "_method": "patch", "authenticity_token": form["authenticity_token"], "issue[notes]": "A note on " + key})
        # Every other one goes back to the form; the others send again what they loaded before, also after the flip.
        if place is None or chance.random() < 0.5:
            page = None


def write(member, notes, table, key, path, form, with_file=False):
    """Once and never again, because Redmine has no key by which it would know a second attempt. Returns where the issue is, or nothing."""
    note = {"kind": "write", "table": table, "key": key, "author": key, "attempt": 1, "began": time.time()}
    try:
        status, headers, text = member.upload(path, form, key + ".svg", "<!-- %s -->" % key, field="attachments[1][file]") \
            if with_file else member.request("POST", path, form)
    except FAILURES as error:
        notes.add(**note, ended=time.time(), status=0, outcome="unknown", problem="%s: %s" % (type(error).__name__, error))
        return None
    note.update(ended=time.time(), status=status, node=headers.get("X-Node"), release=headers.get("X-Release"))
    place = re.search(r"/issues/\d+", headers.get("Location", ""))
    if status == 302 and place:
        notes.add(**note, outcome="acknowledged")
        return place[0]
    if status == 503 and headers.get("Retry-After"):
        notes.add(**note, outcome="refused", retry_after=headers["Retry-After"], by="gate")
    else:
        notes.add(**note, outcome="unknown" if status >= 500 else "rejected", problem="status %d: %s" % (status, text[:300]))
    return None


def mail(arguments, notes, chance):
    """Puts mail into the directory that the worker looks into."""
    for _ in paced(arguments.rate, chance):
        key = str(uuid.UUID(int=chance.getrandbits(128), version=4))
        path = arguments.mail / (key + ".eml")
        path.with_suffix(".new").write_text(
            "From: somebody@example.net\nTo: redmine@example.net\nSubject: %s\nMessage-ID: <%s@example.net>\n\nBy mail.\n" % (key, key))
        path.with_suffix(".new").rename(path)
        notes.add(kind="mail", key=key, began=time.time(), ended=time.time(), status=250)


CLIENTS = {"reader": reader, "writer": writer, "tabs": tabs, "mail": mail,
           "anonymous": lambda arguments, notes, chance: reader(arguments, notes, chance, logged_in=False)}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=sorted(CLIENTS))
    parser.add_argument("--out", required=True, type=pathlib.Path)
    parser.add_argument("--url", required=True)
    parser.add_argument("--seconds", type=float, default=1800)
    parser.add_argument("--rate", type=float, default=5.0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--mail", type=pathlib.Path)
    arguments = parser.parse_args()
    threads = []
    for number in range(arguments.threads):
        # The checkers read `reader-*`.
        prefix = {"anonymous": "reader-anonymous"}.get(arguments.kind, arguments.kind)
        notes = Notes(arguments.out / ("%s-%d.ndjson" % (prefix, number)))
        chance = random.Random("%d %s %d" % (arguments.seed, arguments.kind, number))
        threads.append(threading.Thread(target=CLIENTS[arguments.kind], args=(arguments, notes, chance)))
    clients.live(threads, arguments.seconds)


if __name__ == "__main__":
    main()
