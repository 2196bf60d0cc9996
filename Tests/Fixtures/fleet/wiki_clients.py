# SPDX-License-Identifier: Apache-2.0
"""The clients of a wiki: readers, members who are logged in, and editors, who make a page with each edit.

    wiki_clients.py reader|member|editor --out DIRECTORY --url URL [--rate PER_SECOND] [--threads N] [--seed N]

What they see is written down as `clients.py` does it.
"""

import argparse
import json
import pathlib
import random
import threading
import time
import uuid

import clients
from clients import FAILURES, Notes, pause, paced, stopping
from site_clients import Visitor

# Longer than the hold.
clients.TIMEOUT = 360.0
EDITOR, PASSWORD = "Ada", "a long password for the test"
# How many pages the wiki has from the beginning.
PAGES = 50


class Member(Visitor):
    """Somebody who may log in, over the wiki's own interface for programs."""

    def __init__(self, url):
        super().__init__(url, "page")
        self.token = None

    def call(self, form):
        """Status, headers, and the answer as an object where it is one."""
        status, headers, text = self.request("POST", "/api.php", {**form, "format": "json"})
        try:
            return status, headers, json.loads(text)
        except ValueError:
            return status, headers, {"text": text[:300]}

    def log_in(self):
        self.cookies.clear()
        _, _, text = self.request("GET", "/api.php?action=query&meta=tokens&type=login&format=json")
        token = json.loads(text)["query"]["tokens"]["logintoken"]
        _, _, answer = self.call({"action": "clientlogin", "username": EDITOR, "password": PASSWORD, "rememberMe": "1",
                                  "logintoken": token, "loginreturnurl": "http://wiki.example/"})
        if answer.get("clientlogin", {}).get("status") != "PASS":
            raise RuntimeError("could not log in: %s" % answer)
        self.take_token()

    def take_token(self):
        _, _, text = self.request("GET", "/api.php?action=query&meta=tokens&format=json")
        self.token = json.loads(text)["query"]["tokens"]["csrftoken"]


def read(visitor, notes, path, expected, logged_in):
    note = {"kind": "wiki", "path": path, "session": logged_in, "began": time.time()}
    try:
        status, headers, text = visitor.request("GET", path)
    except FAILURES as error:
        notes.add(**note, ended=time.time(), status=0, problem="%s: %s" % (type(error).__name__, error))
        return
    note.update(ended=time.time(), status=status, node=headers.get("X-Node"), release=headers.get("X-Release"))
    if status != 200:
        note["problem"] = "status %d: %s" % (status, text[:300])
    elif expected not in text:
        note["problem"] = "without %r: %s" % (expected, text[:300])
    elif logged_in and "pt-userpage" not in text:
        note["problem"] = "the session was forgotten"
    notes.add(**note)


def reader(arguments, notes, chance, logged_in=False):
    visitor = Member(arguments.url)
    if logged_in:
        visitor.log_in()
    for _ in paced(arguments.rate, chance):
        number = chance.randint(1, PAGES)
        choice = chance.random()
        path, expected = ("/wiki/Page_%d" % number, "Page %d, of" % number) if choice < 0.7 else (
            "/wiki/Special:RecentChanges", "Recent changes") if choice < 0.9 else (
            "/index.php?title=Page_%d&action=history" % number, "Revision history")
        read(visitor, notes, path, expected, logged_in)


def editor(arguments, notes, chance):
    visitor = Member(arguments.url)
    visitor.log_in()
    for _ in paced(arguments.rate, chance):
        edit(visitor, notes, "Ledger-" + str(uuid.UUID(int=chance.getrandbits(128), version=4)))


def edit(visitor, notes, key):
    """Makes a page; sends it again until it is known whether it is there."""
    attempt = 0
    while attempt == 0 or not stopping.is_set():
        attempt += 1
        note = {"kind": "write", "table": "page", "key": key, "author": key, "attempt": attempt, "began": time.time()}
        try:
            status, headers, answer = visitor.call({
                "action": "edit", "title": key, "text": key, "createonly": "1", "token": visitor.token or ""})
        except FAILURES as error:
            notes.add(**note, ended=time.time(), status=0, outcome="unknown", problem="%s: %s" % (type(error).__name__, error))
            pause(0.2)
            continue
        note.update(ended=time.time(), status=status, node=headers.get("X-Node"), release=headers.get("X-Release"))
        error = answer.get("error", {}).get("code")
        if answer.get("edit", {}).get("result") == "Success" or (error == "articleexists" and attempt > 1):
            notes.add(**note, outcome="acknowledged")
            return
        if status == 503 and headers.get("Retry-After"):
            notes.add(**note, outcome="refused", retry_after=headers["Retry-After"], by="gate")
            pause(1.0)
        elif error in ("badtoken", "permissiondenied"):
            # The wiki has forgotten the session; a browser says so, and the person saves again.
            notes.add(**note, outcome="unknown", problem="the session was forgotten: %s" % error)
            visitor.log_in()
        else:
            notes.add(**note, outcome="unknown", problem="status %d: %s" % (status, str(answer)[:300]))
            pause(0.2)


CLIENTS = {"reader": reader, "editor": editor,
           "member": lambda arguments, notes, chance: reader(arguments, notes, chance, logged_in=True)}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=sorted(CLIENTS))
    parser.add_argument("--out", required=True, type=pathlib.Path)
    parser.add_argument("--url", required=True)
    parser.add_argument("--seconds", type=float, default=900)
    parser.add_argument("--rate", type=float, default=3.0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    threads = []
    for number in range(arguments.threads):
        # The checkers read `reader-*` and `writer-*`.
        prefix = {"member": "reader", "editor": "writer"}.get(arguments.kind, arguments.kind)
        notes = Notes(arguments.out / ("%s-%s-%d.ndjson" % (prefix, arguments.kind, number)))
        chance = random.Random("%d %s %d" % (arguments.seed, arguments.kind, number))
        threads.append(threading.Thread(target=CLIENTS[arguments.kind], args=(arguments, notes, chance)))
    clients.live(threads, arguments.seconds)


if __name__ == "__main__":
    main()
