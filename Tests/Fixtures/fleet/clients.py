# SPDX-License-Identifier: Apache-2.0
"""The clients: processes of their own that load the fleet from outside at a bounded rate and write down all they see.

    clients.py reader|writer|tabs|sneaky --out DIRECTORY --seconds N [--url URL] [--rate PER_SECOND] [--seed N]

Each thread appends one JSON object a line to its own file, flushed before it goes on: what stands there happened. They
stop at SIGTERM or after their time, whichever is first.
"""

import argparse
import http.client
import json
import os
import pathlib
import random
import re
import signal
import threading
import time
import urllib.parse
import uuid

TIMEOUT = 45.0
AUTHORS = ["Ada Lovelace", "Plato", "Jean Paul Sartre", "Emmy Noether", "Zoë Ångström", "Mary Jackson", "Hypatia"]

_META = re.compile(r'<meta name="release" content="([^"]+)">')
_ASSET = re.compile(r'(?:href|src)="(/assets/[^"]+)"')
_ENTRY = re.compile(r'href="(/entries/\d+)"')
_FIELD = re.compile(r'name="(author|given_name|family_name)"')

stopping = threading.Event()


class Notes:
    """A file of lines, each complete on its own."""

    def __init__(self, path):
        self._file = open(path, "a", encoding="utf-8")

    def add(self, **values):
        self._file.write(json.dumps(values, ensure_ascii=False) + "\n")
        self._file.flush()


class Browser:
    """One lasting connection to the load balancer, as a browser has it."""

    def __init__(self, url, timeout=None):
        self._host = urllib.parse.urlsplit(url).netloc
        self._timeout = timeout or TIMEOUT
        self._connection = None

    def request(self, method, path, form=None, headers=(), body=None):
        """Status, headers and body of the response. Raises what the connection raises."""
        headers = dict(headers)
        if form is not None:
            body = urllib.parse.urlencode(form)
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        try:
            if self._connection is None:
                self._connection = http.client.HTTPConnection(self._host, timeout=self._timeout)
            self._connection.request(method, path, body=body, headers=headers)
            response = self._connection.getresponse()
            text = response.read().decode("utf-8", "replace")
        except BaseException:
            self.close()
            raise
        if response.will_close:
            self.close()
        return response.status, response.headers, text

    def close(self):
        if self._connection is not None:
            self._connection.close()
        self._connection = None


FAILURES = (OSError, http.client.HTTPException)


# Readers


def fetch(browser, notes, kind, path, form=None, **more):
    """Reads one page or asset and notes it. Returns its text, or nothing when the read failed."""
    began = time.time()
    note = {"kind": kind, "path": path, "began": began, **more}
    try:
        status, headers, text = browser.request("POST" if form is not None else "GET", path, form)
    except FAILURES as error:
        notes.add(**note, ended=time.time(), status=0, problem="%s: %s" % (type(error).__name__, error))
        return None
    note.update(
        ended=time.time(), status=status, node=headers.get("X-Node"), cache=headers.get("X-Cache"),
        release=headers.get("X-Release"))
    if headers.get("X-Database"):
        note["database"] = headers["X-Database"]
    if status != 200:
        notes.add(**note, problem="status %d" % status)
        return None
    if kind != "asset":
        shown = _META.findall(text)
        if shown != [note["release"]]:
            note["problem"] = "the header says release %s, the page %s" % (note["release"], shown)
        if len(_ASSET.findall(text)) != 2:
            note["problem"] = "the page names %d assets" % len(_ASSET.findall(text))
    notes.add(**note)
    return text


def fetch_assets(browser, notes, page, release):
    for path in _ASSET.findall(page):
        text = fetch(browser, notes, "asset", path, of=release)
        if text is not None and ("guestbook %s " % release) not in text:
            notes.add(kind="asset", path=path, of=release, began=time.time(), ended=time.time(), status=200,
                      problem="is not the one of release %s" % release)


def release_of(page):
    found = _META.search(page)
    return found.group(1) if found else "?"


def reader(arguments, notes, chance):
    browser = Browser(arguments.url)
    links = ["/entries/1"]
    for _ in paced(arguments.rate, chance):
        choice = chance.random()
        if choice < 0.45:
            page = fetch(browser, notes, "page", "/" if choice < 0.25 else "/?page=%d" % chance.randint(2, 9))
            links = _ENTRY.findall(page or "") or links
        elif choice < 0.75:
            page = fetch(browser, notes, "page", chance.choice(links))
        elif choice < 0.85:
            page = fetch(browser, notes, "search", "/search?q=" + urllib.parse.quote(chance.choice(AUTHORS).split()[0]))
        elif choice < 0.95:
            page = fetch(browser, notes, "form", "/write")
        else:
            page = fetch(browser, notes, "preview", "/preview", {"author": "Ada Lovelace", "given_name": "Ada",
                                                                   "message": "A POST that only reads"})
        if page is not None:
            fetch_assets(browser, notes, page, release_of(page))


def tabs(arguments, notes, chance):
    """Tabs that stay open: each was loaded once and asks for its assets again and again, long after."""
    browser = Browser(arguments.url)
    opened = []
    for _ in paced(arguments.rate, chance):
        if len(opened) < 40:
            page = fetch(browser, notes, "page", "/write")
            if page is not None:
                opened.append((release_of(page), page))
        if opened:
            release, page = opened[0] if chance.random() < 0.5 else chance.choice(opened)
            fetch_assets(browser, notes, page, release)
    for release, page in opened:
        fetch_assets(browser, notes, page, release)


# Writers


def writer(arguments, notes, chance):
    """Writes entries with a key of its own each; an unknown outcome is tried again with the same key until it is known. With --follow it
    then reads what it has written, wherever it is led, as browsers do: a read like any other."""
    browser = Browser(arguments.url, arguments.timeout)
    form_of = own = None
    fields = ["author"]
    for _ in paced(arguments.rate, chance):
        if form_of is None:
            try:
                _, headers, text = browser.request("GET", "/write")
                form_of, fields = headers.get("X-Release"), sorted(set(_FIELD.findall(text)))
            except FAILURES:
                continue
        key = str(uuid.UUID(int=chance.getrandbits(128), version=4))
        author = chance.choice(AUTHORS)
        form = {"request_id": key, "message": "Written by client %d" % os.getpid()}
        if "author" in fields:
            form["author"] = author
        else:
            form["given_name"], _, form["family_name"] = author.partition(" ")
        answer = write_until_known(browser, notes, key, author, form)
        if answer is None:
            continue
        if arguments.follow:
            own = own or Notes(arguments.out / ("reader-own-%d.ndjson" % threading.get_ident()))
            fetch(browser, own, "own", answer.get("Location"))
        if answer.get("X-Release") != form_of:
            form_of = None


def write_until_known(browser, notes, key, author, form):
    """Returns the headers of what acknowledged, or nothing when the client had to stop before it knew."""
    attempt = 0
    while attempt == 0 or not stopping.is_set():
        attempt += 1
        note = {"kind": "write", "table": "entry", "key": key, "author": author, "attempt": attempt, "began": time.time()}
        try:
            status, headers, _ = browser.request("POST", "/entries", form)
        except FAILURES as error:
            notes.add(**note, ended=time.time(), status=0, outcome="unknown",
                      problem="%s: %s" % (type(error).__name__, error))
            pause(0.2)
            continue
        note.update(ended=time.time(), status=status, node=headers.get("X-Node"), release=headers.get("X-Release"),
                    database=headers.get("X-Database"))
        if status == 303:
            notes.add(**note, outcome="acknowledged")
            return headers
        retry_after = headers.get("Retry-After")
        if status == 503 and retry_after is not None:
            notes.add(**note, outcome="refused", retry_after=retry_after, by=headers.get("X-Refused-By", "gate"))
            pause(min(float(retry_after), 2.0) if retry_after.isdigit() else 1.0)
        elif status >= 500:
            notes.add(**note, outcome="unknown", problem="status %d" % status)
            pause(0.2)
        else:
            notes.add(**note, outcome="rejected", problem="status %d" % status)
            return None
    return None


# Those who try to get around the read-only default, directly in the database


TECHNIQUES = {}


def technique(user, options=""):
    def register(function):
        TECHNIQUES[function.__name__] = (user, options, function)
        return function
    return register


@technique("guestbook_app", "-c default_transaction_read_only=off")
def connection_option(cursor, key):
    cursor.execute("INSERT INTO visit (request_id, how) VALUES (%s, 'connection option')", (key,))


@technique("guestbook_app")
def set_and_begin_read_write(cursor, key):
    cursor.execute("SET default_transaction_read_only = off")
    cursor.execute("BEGIN READ WRITE")
    cursor.execute("SET TRANSACTION READ WRITE")
    cursor.execute("INSERT INTO visit (request_id, how) VALUES (%s, 'begin read write')", (key,))
    cursor.execute("COMMIT")


@technique("guestbook_app")
def open_transaction(cursor, key):
    cursor.execute("BEGIN READ WRITE")
    cursor.execute("INSERT INTO visit (request_id, how) VALUES (%s, 'open transaction')", (key,))
    pause(random.uniform(0.2, 1.5))
    cursor.execute("COMMIT")


@technique("guestbook_app")
def late_writer(cursor, key):
    cursor.execute("BEGIN READ WRITE")
    cursor.execute("SELECT count(*) FROM visit")
    pause(random.uniform(0.2, 1.5))
    cursor.execute("INSERT INTO visit (request_id, how) VALUES (%s, 'late writer')", (key,))
    cursor.execute("COMMIT")


@technique("guestbook_batch")
def member_of_a_group(cursor, key):
    cursor.execute("INSERT INTO visit (request_id, how) VALUES (%s, 'group')", (key,))


@technique("guestbook_app")
def function_with_owners_rights(cursor, key):
    cursor.execute("SET default_transaction_read_only = off")
    cursor.execute("SELECT count_visit(%s, 'security definer')", (key,))


@technique("guestbook_admin")
def member_of_the_owner(cursor, key):
    cursor.execute("SET ROLE guestbook_owner")
    cursor.execute("SET default_transaction_read_only = off")
    cursor.execute("INSERT INTO visit (request_id, how) VALUES (%s, 'owner')", (key,))


@technique("guestbook_admin")
def owner_grants_again(cursor, key):
    cursor.execute("SET ROLE guestbook_owner")
    cursor.execute("SET default_transaction_read_only = off")
    # The rights that the application has anyway: outside the window this changes nothing.
    cursor.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON visit TO guestbook_app")
    cursor.execute("INSERT INTO visit (request_id, how) VALUES (%s, 'owner after a grant')", (key,))


def sneaky(arguments, notes, chance, names):
    """Tries one technique after the other on lasting sessions; a committed row is an acknowledged write like any other."""
    import psycopg2

    passwords = json.loads(os.environ["FLEET_PASSWORDS"])
    sessions = {}
    for turn in paced(arguments.rate, chance):
        name = names[turn % len(names)]
        user, options, attempt = TECHNIQUES[name]
        key = str(uuid.UUID(int=chance.getrandbits(128), version=4))
        note = {"kind": "sneak", "table": "visit", "how": name, "key": key, "began": time.time()}
        try:
            connection = sessions.get(name)
            if connection is None or connection.closed:
                connection = psycopg2.connect(
                    host="127.0.0.1", port=arguments.port, dbname="guestbook", user=user, password=passwords[user],
                    options=options + " -c statement_timeout=10s -c lock_timeout=3s", connect_timeout=5)
                connection.autocommit = True
                sessions[name] = connection
            with connection.cursor() as cursor:
                attempt(cursor, key)
            notes.add(**note, ended=time.time(), outcome="acknowledged")
        except psycopg2.Error as error:
            lost = isinstance(error, (psycopg2.OperationalError, psycopg2.InterfaceError)) and error.pgcode is None
            notes.add(**note, ended=time.time(), outcome="unknown" if lost else "refused", code=error.pgcode,
                      problem=str(error).strip().split("\n")[0])
            try:
                connection.rollback()
                with connection.cursor() as cursor:
                    cursor.execute("ROLLBACK")
                    cursor.execute("RESET ROLE")
            except (psycopg2.Error, UnboundLocalError, AttributeError):
                sessions.pop(name, None)


# The frame


def paced(rate, chance):
    """Counts turns at about the given rate until the client is told to stop."""
    turn = 0
    while not stopping.is_set():
        yield turn
        turn += 1
        pause(chance.uniform(0.5, 1.5) / rate)


def pause(seconds):
    stopping.wait(seconds)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=["reader", "writer", "tabs", "sneaky"])
    parser.add_argument("--out", required=True, type=pathlib.Path)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--url", default="")
    parser.add_argument("--port", type=int, default=0, help="of PostgreSQL, for sneaky")
    parser.add_argument("--rate", type=float, default=8.0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--timeout", type=float, help="how long writers wait for an answer, in seconds (default: %d)" % TIMEOUT)
    parser.add_argument("--follow", action="store_true", help="writers read what they have written")
    parser.add_argument("--without", action="append", default=[], choices=sorted(TECHNIQUES), help="sneaky leaves it out")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()

    threads = []
    for number in range(arguments.threads):
        notes = Notes(arguments.out / ("%s-%d.ndjson" % (arguments.kind, number)))
        chance = random.Random("%d %s %d" % (arguments.seed, arguments.kind, number))
        extra = ()
        if arguments.kind == "sneaky":
            names = [name for name in sorted(TECHNIQUES) if name not in arguments.without]
            extra = (names[number::arguments.threads],)
            if not extra[0]:
                continue
        client = {"reader": reader, "writer": writer, "tabs": tabs, "sneaky": sneaky}[arguments.kind]
        threads.append(threading.Thread(target=client, args=(arguments, notes, chance, *extra)))
    live(threads, arguments.seconds)


def live(threads, seconds):
    """Until that time is over, somebody says that it is, or all have ended."""
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    signal.signal(signal.SIGINT, lambda *_: stopping.set())
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and not stopping.is_set() and any(thread.is_alive() for thread in threads):
        stopping.wait(0.5)
    stopping.set()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main()
