# SPDX-License-Identifier: Apache-2.0
"""The clients of a site of Frappe: somebody with a token who reads, guests, and somebody who writes notes.

    frappe_clients.py reader|guest|writer --out DIRECTORY --url URL --token KEY:SECRET [--rate PER_SECOND] [--threads N] [--seed N]

What they see is written down as `clients.py` does it.
"""

import argparse
import json
import pathlib
import random
import re
import signal
import threading
import time
import urllib.parse
import uuid

import clients
from clients import FAILURES, Browser, Notes, pause, paced, stopping

_ASSET = re.compile(r'(?:href|src)="(/assets/[^"]+\.bundle\.[^"]+)"')
VERSIONS = "/api/method/frappe.utils.change_log.get_versions"


class Person(Browser):
    def __init__(self, arguments, has_token=True):
        super().__init__(arguments.url)
        self._token = {"Authorization": "token " + arguments.token} if has_token else {}

    def request(self, method, path, form=None, headers=(), body=None):
        return super().request(method, path, form, {**self._token, "Accept": "application/json", **dict(headers)}, body)


def read(person, notes, path, kind="page", form=None, **more):
    """Reads and notes it. Returns the text, or nothing when the read failed."""
    note = {"kind": kind, "path": path, "began": time.time(), **more}
    try:
        status, headers, text = person.request("GET" if form is None else "POST", path, form)
    except FAILURES as error:
        notes.add(**note, ended=time.time(), status=0, problem="%s: %s" % (type(error).__name__, error))
        return None
    note.update(ended=time.time(), status=status, node=headers.get("X-Node"))
    if status != 200:
        notes.add(**note, problem="status %d: %s" % (status, text[:200]))
        return None
    if kind == "version":
        note["release"] = json.loads(text)["message"]["frappe"]["version"]
    notes.add(**note)
    return text


def reader(arguments, notes, chance):
    person, names = Person(arguments), []
    for _ in paced(arguments.rate, chance):
        choice = chance.random()
        if choice < 0.2:
            rows = json.loads(read(person, notes, "/api/resource/Note", kind="list") or '{"data": []}')["data"]
            names = [row["name"] for row in rows] or names
        elif choice < 0.4 and names:
            read(person, notes, "/api/method/frappe.desk.form.load.getdoc?doctype=Note&name=" + urllib.parse.quote(chance.choice(names)), kind="form")
        elif choice < 0.55:
            read(person, notes, "/api/method/frappe.desk.reportview.get", kind="post", form={"doctype": "Note", "fields": '["name"]'})
        elif choice < 0.65:
            read(person, notes, "/api/method/frappe.client.get_count", kind="post", form={"doctype": "Note"})
        elif choice < 0.8:
            for asset in _ASSET.findall(read(person, notes, "/app", kind="desk") or ""):
                read(person, notes, asset, kind="asset")
        else:
            read(person, notes, VERSIONS, kind="version")


def guest(arguments, notes, chance):
    person = Person(arguments, has_token=False)
    for _ in paced(arguments.rate, chance):
        key = str(uuid.UUID(int=chance.getrandbits(128), version=4))
        read(person, notes, "/?view=" + key, kind="view", key=key)


def writer(arguments, notes, chance):
    person = Person(arguments)
    for _ in paced(arguments.rate, chance):
        key = str(uuid.UUID(int=chance.getrandbits(128), version=4))
        send(person, notes, key, chance.choice(clients.AUTHORS))


def send(person, notes, key, author):
    attempt = 0
    while attempt == 0 or not stopping.is_set():
        attempt += 1
        note = {"kind": "write", "table": "tabNote", "key": key, "author": author, "attempt": attempt, "began": time.time()}
        try:
            status, headers, text = person.request("POST", "/api/resource/Note", headers={"Content-Type": "application/json"},
                                                   body=json.dumps({"title": key, "content": author, "public": 1}).encode())
        except FAILURES as error:
            # It may have been stored: what is sent again would be there twice.
            notes.add(**note, ended=time.time(), status=0, outcome="unknown", problem="%s: %s" % (type(error).__name__, error))
            return
        note.update(ended=time.time(), status=status, node=headers.get("X-Node"))
        if status == 200:
            notes.add(**note, outcome="acknowledged")
            return
        if status == 503 and headers.get("Retry-After"):
            notes.add(**note, outcome="refused", retry_after=headers["Retry-After"], by="gate" if headers.get("X-Sluice-Refused") else "fence")
            pause(1.0)
            continue
        # Frappe's own 503 has no Retry-After: nobody should come as far as that.
        notes.add(**note, outcome="rejected", problem="status %d: %s" % (status, text[:300]))
        return


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=["reader", "guest", "writer"])
    parser.add_argument("--out", required=True, type=pathlib.Path)
    parser.add_argument("--url", required=True)
    parser.add_argument("--token", required=True)
    parser.add_argument("--rate", type=float, default=5.0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    client = {"reader": reader, "guest": guest, "writer": writer}[arguments.kind]
    threads = []
    for number in range(arguments.threads):
        # The checker reads `reader-*` and `writer-*`.
        prefix = "reader-guest" if arguments.kind == "guest" else arguments.kind
        notes = Notes(arguments.out / ("%s-%d.ndjson" % (prefix, number)))
        chance = random.Random("%d %s %d" % (arguments.seed, arguments.kind, number))
        threads.append(threading.Thread(target=client, args=(arguments, notes, chance)))
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        for thread in threads:
            thread.join(0.2)


if __name__ == "__main__":
    main()
