# SPDX-License-Identifier: Apache-2.0
"""The clients of a site: readers with a session and without, people who fill in its form and upload a file, and cron.

    site_clients.py reader|anonymous|writer|editor|cron --out DIRECTORY --url URL [--rate PER_SECOND] [--threads N] [--seed N]

What they see is written down as `clients.py` does it.
"""

import argparse
import html
import http.cookies
import pathlib
import random
import re
import subprocess
import threading
import time
import uuid

import clients
from clients import FAILURES, Browser, Notes, pause, paced, stopping

READER, PASSWORD = "reader", "a password for the test"

_META = re.compile(r'<meta name="release" content="([^"]+)">')
_ASSET = re.compile(r'href="(/(?:static/shelf/|assets/application-)[^"]+)"')
_COVER = re.compile(r'src="(/media/[^"]+)"')
_BOOK = re.compile(r'href="(/books/\d+/)"')
_TOKEN = re.compile(r'name="(csrfmiddlewaretoken|authenticity_token)" value="([^"]+)"')


class Visitor(Browser):
    """A browser that keeps cookies."""

    def __init__(self, url, table):
        super().__init__(url)
        self.table = table
        self.cookies = {}

    def cookie(self):
        return "; ".join("%s=%s" % pair for pair in self.cookies.items())

    def request(self, method, path, form=None, headers=(), body=None):
        sent = {**dict(headers), "Cookie": self.cookie()}
        status, received, text = super().request(method, path, form, sent, body)
        for line in received.get_all("Set-Cookie") or []:
            for name, morsel in http.cookies.SimpleCookie(line).items():
                self.cookies[name] = morsel.value
        return status, received, text

    def upload(self, path, form, name, content, field="cover"):
        """A form with a file, as a browser sends one."""
        boundary = uuid.uuid4().hex
        parts = ["--%s\r\nContent-Disposition: form-data; name=\"%s\"\r\n\r\n%s\r\n" % (boundary, *pair)
                 for pair in form.items()]
        parts.append("--%s\r\nContent-Disposition: form-data; name=\"%s\"; filename=\"%s\"\r\n"
                     "Content-Type: image/svg+xml\r\n\r\n%s\r\n--%s--\r\n" % (boundary, field, name, content, boundary))
        return self.request("POST", path, headers={"Content-Type": "multipart/form-data; boundary=" + boundary},
                            body="".join(parts).encode())

    def log_in(self):
        """Before the upgrade: a failure here is the harness's own."""
        _, _, page = self.request("GET", "/login/")
        status, _, _ = self.request(
            "POST", "/login/", {"username": READER, "password": PASSWORD, **token_of(page)})
        if status != 302:
            raise RuntimeError("the reader could not log in: status %d" % status)


def token_of(page):
    """Django's or Rails' token against forged forms; other sites have none."""
    found = _TOKEN.search(page)
    return {found[1]: html.unescape(found[2])} if found else {}


def read(visitor, notes, path, kind="page", logged_in=False, **more):
    """Reads one page or asset and notes it. Returns its text, or nothing when the read failed."""
    note = {"kind": kind, "path": path, "session": logged_in, "began": time.time(), **more}
    try:
        status, headers, text = visitor.request("GET", path)
    except FAILURES as error:
        notes.add(**note, ended=time.time(), status=0, problem="%s: %s" % (type(error).__name__, error))
        return None
    note.update(ended=time.time(), status=status, node=headers.get("X-Node"), cache=None, release=headers.get("X-Release"))
    if status != 200:
        notes.add(**note, problem="status %d: %s" % (status, text[:200]))
        return None
    if kind == "page":
        if _META.findall(text) != [note["release"]]:
            note["problem"] = "the header says release %s, the page %s" % (note["release"], _META.findall(text))
        elif logged_in and ("Logged in as " + READER) not in text:
            note["problem"] = "the session was forgotten"
        if "X-Read-Only" in headers:
            note["flags"] = [headers["X-Read-Only"] == "true", "read-only for a moment" in text]
    notes.add(**note)
    return text


def reader(arguments, notes, chance, logged_in=True):
    visitor = Visitor(arguments.url, arguments.table)
    if logged_in:
        visitor.log_in()
    links = ["/books/1/"]
    for _ in paced(arguments.rate, chance):
        choice = chance.random()
        if logged_in and arguments.admin and choice < 0.1:
            # The admin has no release of its own in the page.
            read(visitor, notes, "/admin/shelf/book/", kind="admin", logged_in=True)
            continue
        path = "/" if choice < 0.5 else chance.choice(links) if choice < 0.8 or not logged_in else "/add/"
        page = read(visitor, notes, path, logged_in=logged_in)
        if page is None:
            continue
        links = _BOOK.findall(page) or links
        for cover in _COVER.findall(page):
            read(visitor, notes, cover, kind="upload")
        release = _META.findall(page)[:1]
        for asset in _ASSET.findall(page):
            style = read(visitor, notes, asset, kind="asset", of=(release or ["?"])[0])
            if style is not None and release and ("bookshelf %s " % release[0]) not in style:
                notes.add(kind="asset", path=asset, session=False, began=time.time(), ended=time.time(), status=200,
                          problem="is not the one of release %s" % release[0])


def writer(arguments, notes, chance):
    visitor = Visitor(arguments.url, arguments.table)
    visitor.log_in()
    page = None
    for _ in paced(arguments.rate, chance):
        if page is None:
            try:
                status, _, page = visitor.request("GET", "/add/")
            except FAILURES:
                continue
            if status != 200:
                page = None
                continue
        key = str(uuid.UUID(int=chance.getrandbits(128), version=4))
        author = chance.choice(clients.AUTHORS)
        field = "written_by" if 'name="written_by"' in page else "author"
        form = {"request_id": key, "title": "A book of %s" % author, field: author, **token_of(page)}
        # Every other one goes back to the form; the others send again what they loaded before, also after the flip.
        if not send(visitor, notes, key, author, form) or chance.random() < 0.5:
            page = None


def send(visitor, notes, key, author, form):
    attempt = 0
    while attempt == 0 or not stopping.is_set():
        attempt += 1
        note = {"kind": "write", "table": visitor.table, "key": key, "author": author, "attempt": attempt, "began": time.time()}
        try:
            status, headers, text = visitor.upload("/add/", form, key + ".svg", "<!-- %s -->" % key)
        except FAILURES as error:
            notes.add(**note, ended=time.time(), status=0, outcome="unknown", problem="%s: %s" % (type(error).__name__, error))
            pause(0.2)
            continue
        note.update(ended=time.time(), status=status, node=headers.get("X-Node"), release=headers.get("X-Release"))
        if status == 302 and "/books/" in headers.get("Location", ""):
            notes.add(**note, outcome="acknowledged")
            return True
        retry_after = headers.get("Retry-After")
        if status == 503 and retry_after is not None:
            notes.add(**note, outcome="refused", retry_after=retry_after, by="gate")
            pause(1.0)
        elif status >= 500:
            notes.add(**note, outcome="unknown", problem="status %d" % status)
            pause(0.2)
        else:
            notes.add(**note, outcome="rejected", problem="status %d: %s" % (status, text[:300]))
            return False
    return False


IMAGES, IMAGE = "wagtailimages_image", '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><!-- %s --></svg>'


def editor(arguments, notes, chance):
    """Looks around in Wagtail's own pages and uploads images there; an image has no key, so nothing is sent twice."""
    visitor = Visitor(arguments.url, IMAGES)
    visitor.log_in()
    # The checker takes all of a writer's notes for writes.
    reads = Notes(arguments.out / "reader-editor.ndjson")
    for _ in paced(arguments.rate, chance):
        choice = chance.random()
        if choice < 0.6:
            read(visitor, reads, "/cms/" if choice < 0.2 else "/cms/images/" if choice < 0.4 else "/pages/", kind="admin", logged_in=True)
            continue
        page = read(visitor, reads, "/cms/images/add/", kind="admin", logged_in=True)
        if page is not None:
            key = str(uuid.UUID(int=chance.getrandbits(128), version=4))
            add_image(visitor, notes, key, {"title": key, "tags": "", **token_of(page)})


def add_image(visitor, notes, key, form):
    note = {"kind": "write", "table": IMAGES, "key": key, "author": key, "attempt": 1, "began": time.time()}
    try:
        status, headers, text = visitor.upload("/cms/images/add/", form, key + ".svg", IMAGE % key, field="file")
    except FAILURES as error:
        notes.add(**note, ended=time.time(), status=0, outcome="unknown", problem="%s: %s" % (type(error).__name__, error))
        return
    note.update(ended=time.time(), status=status, node=headers.get("X-Node"), release=headers.get("X-Release"))
    if status == 302 and headers.get("Location", "").startswith("/cms/images/"):
        notes.add(**note, outcome="acknowledged")
    elif status == 503 and headers.get("Retry-After"):
        notes.add(**note, outcome="refused", retry_after=headers["Retry-After"], by="gate")
    else:
        notes.add(**note, outcome="unknown" if status >= 500 else "rejected", problem="status %d: %s" % (status, text[:300]))


def cron(arguments, notes, chance):
    for _ in paced(arguments.rate, chance):
        began = time.time()
        job = subprocess.run(arguments.job, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        notes.add(kind="cron", began=began, ended=time.time(), status=job.returncode, output=job.stdout[-300:])


CLIENTS = {"reader": reader, "writer": writer, "editor": editor, "cron": cron,
           "anonymous": lambda arguments, notes, chance: reader(arguments, notes, chance, logged_in=False)}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=sorted(CLIENTS))
    parser.add_argument("--out", required=True, type=pathlib.Path)
    parser.add_argument("--url", required=True)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--rate", type=float, default=5.0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--table", required=True, help="where the books are")
    parser.add_argument("--admin", action="store_true", help="the site has Django's admin")
    parser.add_argument("--timeout", type=float, default=clients.TIMEOUT, help="seconds, longer than requests are held")
    parser.add_argument("--job", nargs="+", help="what cron runs")
    arguments = parser.parse_args()
    clients.TIMEOUT = arguments.timeout
    client = CLIENTS[arguments.kind]
    threads = []
    for number in range(arguments.threads):
        # The checker of the guestbook reads `reader-*` and `writer-*`.
        prefix = {"anonymous": "reader", "editor": "writer"}.get(arguments.kind, arguments.kind)
        notes = Notes(arguments.out / ("%s-%s-%d.ndjson" % (prefix, arguments.kind, number)))
        chance = random.Random("%d %s %d" % (arguments.seed, arguments.kind, number))
        threads.append(threading.Thread(target=client, args=(arguments, notes, chance)))
    clients.live(threads, arguments.seconds)


if __name__ == "__main__":
    main()
