# SPDX-License-Identifier: Apache-2.0
"""A reader with a real browser: Chromium without a window, told what to do through the DevTools protocol on two pipes.

    chromium.py --out DIRECTORY --url URL [--seconds N]

One tab is opened on the form of the old release and left open; another one reads, fills in forms and sends them all the time.
When it is told to stop, the tab that was left open fetches its assets once more and sends its form. Pages, assets and writes are
noted as the other clients note theirs; what only a browser sees (a script that fails, a request that it gave up) is a
`problem` of its own.
"""

import argparse
import collections
import fcntl
import json
import os
import pathlib
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.parse

from clients import AUTHORS, Notes

PROGRAM = "chromium"
PATIENCE = 45.0

# Nothing beyond the fleet: a browser calls home in many ways, and no name but an address resolves here.
OPTIONS = [
    "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-default-apps", "--disable-domain-reliability", "--disable-extensions",
    "--disable-sync", "--no-pings", "--no-proxy-server", "--disable-dev-shm-usage", "--remote-debugging-pipe"]


class DevTools:
    """A browser process and the two pipes to it; ends with this process, whose ends of the pipes it watches."""

    def __init__(self, host):
        self._profile = tempfile.mkdtemp(prefix="sluice-chromium.")
        hear, tell = os.pipe()
        listen, answer = os.pipe()

        def pipes():
            # The protocol's numbers; ours may be the same two.
            ends = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (hear, answer)]
            for number, end in zip((3, 4), ends):
                os.dup2(end, number)

        self._process = subprocess.Popen(
            [PROGRAM, *OPTIONS, "--user-data-dir=" + self._profile,
             "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE " + host, "about:blank"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, close_fds=False, preexec_fn=pipes)
        os.close(hear)
        os.close(answer)
        self._tell, self._listen = tell, listen
        self._number, self._unread = 0, b""
        self._events = collections.deque()

    def close(self):
        try:
            self.call("Browser.close")
            self._process.wait(10)
        except (OSError, TimeoutError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self._profile, ignore_errors=True)

    def call(self, method, session=None, **parameters):
        """The result of a command; events that arrive before it wait for `event`."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if session is not None:
            message["sessionId"] = session
        os.write(self._tell, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + PATIENCE
        while True:
            answer = self._read(deadline)
            if answer is None:
                raise TimeoutError("Chromium did not answer %s" % method)
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise OSError("Chromium: %s: %s" % (method, answer["error"].get("message")))
                return answer["result"]
            self._events.append(answer)

    def event(self, deadline):
        """The next event, or nothing when there was none until the deadline."""
        return self._events.popleft() if self._events else self._read(deadline)

    def _read(self, deadline):
        while b"\0" not in self._unread:
            ready, _, _ = select.select([self._listen], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                return None
            more = os.read(self._listen, 1 << 16)
            if not more:
                raise OSError("Chromium has ended")
            self._unread += more
        message, self._unread = self._unread.split(b"\0", 1)
        return json.loads(message)


class Tab:
    """One page of the browser. Notes every request that it makes."""

    # Whether the browser script does anything in it; those who read all the time are as without it.
    takes_script = False

    def __init__(self, tools, reads, problems):
        self._tools, self._reads, self._problems = tools, reads, problems
        target = tools.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = tools.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            tools.call(domain + ".enable", self.session)
        if not self.takes_script:
            tools.call("Page.addScriptToEvaluateOnNewDocument", self.session, source="window.sluice = {}")
        self._requests = {}
        self.shown = False
        self.release = None
        # The page's own answer: status and headers.
        self.answer = (0, {})

    def handle(self, event):
        kind, body = event.get("method"), event.get("params", {})
        if kind == "Network.requestWillBeSent":
            if "redirectResponse" in body:
                self._requests.pop(body["requestId"], None)
            self._requests[body["requestId"]] = {
                "path": urllib.parse.urlsplit(body["request"]["url"]).path, "method": body["request"]["method"],
                "kind": body.get("type", "Other"), "began": body["wallTime"], "of": self.release}
        elif kind == "Network.responseReceived" and body["requestId"] in self._requests:
            self._requests[body["requestId"]]["response"] = body["response"]
        elif kind == "Network.loadingFinished":
            self._note(self._requests.pop(body["requestId"], None))
        elif kind == "Network.loadingFailed":
            request = self._requests.pop(body["requestId"], None)
            # A page that is left takes its requests with it.
            if request is not None and not body.get("canceled"):
                self._problems.add(kind="problem", at=time.time(), what="%s %s: %s" % (
                    request["method"], request["path"], body.get("errorText")))
        elif kind == "Runtime.exceptionThrown":
            details = body["exceptionDetails"]
            self._problems.add(kind="problem", at=time.time(), what="script: %s" % (
                details.get("exception", {}).get("description") or details.get("text")))
        elif kind == "Page.loadEventFired":
            self.shown = True

    def _note(self, request):
        if request is None or "response" not in request or request["kind"] not in ("Document", "Stylesheet", "Script"):
            return
        response = request["response"]
        headers = {name.lower(): value for name, value in response["headers"].items()}
        if request["kind"] == "Document":
            self.answer = (int(response["status"]), headers)
        if request["method"] != "GET":
            return
        note = {"kind": "page" if request["kind"] == "Document" else "asset", "path": request["path"],
                "began": request["began"], "ended": time.time(), "status": int(response["status"]),
                "node": headers.get("x-node"), "cache": headers.get("x-cache"), "release": headers.get("x-release")}
        if note["kind"] == "asset":
            note["of"] = request["of"]
            # What the browser had itself was not asked of the fleet.
            if response.get("fromDiskCache"):
                return
        if note["status"] != 200:
            note["problem"] = "status %d" % note["status"]
        self._reads.add(**note)

    def run(self, script):
        """The value of an expression in the page; a promise is waited for."""
        result = self._tools.call(
            "Runtime.evaluate", self.session, expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in result:
            raise OSError("in the page: %s" % result["exceptionDetails"].get("text"))
        return result["result"].get("value")


# What is wrong with the picture of a report, as it is laid out: texts outside of it or over each other, bars without a size.
_PICTURE = """(() => {
    const svg = document.querySelector('svg');
    if (!svg) return {wrong: ['the page has no picture'], texts: 0, bars: 0};
    const frame = svg.getBoundingClientRect(), wrong = [];
    const texts = [...svg.querySelectorAll('text')].filter(t => t.textContent.trim() !== '');
    const boxes = texts.map(t => t.getBoundingClientRect());
    const bars = [...svg.querySelectorAll('rect')];
    boxes.forEach((a, i) => {
        if (a.left < frame.left - 1 || a.right > frame.right + 1 || a.top < frame.top - 1 || a.bottom > frame.bottom + 1)
            wrong.push(`"${texts[i].textContent}" is outside the picture`);
        boxes.slice(i + 1).forEach((b, j) => {
            if (Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1 && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 3)
                wrong.push(`"${texts[i].textContent}" lies over "${texts[i + 1 + j].textContent}"`);
        });
    });
    for (const bar of bars)
        if (bar.getBoundingClientRect().height <= 0) wrong.push('a bar has no height');
    if (document.documentElement.scrollWidth > innerWidth) wrong.push(`the page is wider than the window of ${innerWidth}`);
    return {wrong, texts: texts.length, bars: bars.length};
})()"""


def look_at_report(path):
    """What is wrong with a report's page in a wide window and in a narrow one, and how much of its picture was looked at."""
    wrong, requests, seen = [], [], {}
    tools = DevTools("none")
    try:
        notes = Listed()
        tab = Tab(tools, notes, notes)
        for width in (1280, 400):
            tools.call("Emulation.setDeviceMetricsOverride", tab.session, width=width, height=900, deviceScaleFactor=1, mobile=False)
            tab.shown = False
            tools.call("Page.navigate", tab.session, url=pathlib.Path(path).resolve().as_uri())
            deadline = time.monotonic() + PATIENCE
            while not tab.shown:
                event = tools.event(deadline)
                if event is None:
                    raise TimeoutError("%s: not shown after %.0f s" % (path, PATIENCE))
                if event.get("method") == "Network.requestWillBeSent":
                    requests.append(event["params"]["request"]["url"])
                tab.handle(event)
            seen = tab.run(_PICTURE)
            wrong += ["%d px wide: %s" % (width, line) for line in seen["wrong"]]
        wrong += [note["what"] for note in notes.all if note["kind"] == "problem"]
        wrong += ["asks for %s" % url for url in requests if not url.startswith("file:")]
    finally:
        tools.close()
    return wrong, seen["texts"], seen["bars"]


class Listed:
    """Notes that are only remembered."""

    def __init__(self):
        self.all = []

    def add(self, **values):
        self.all.append(values)


class Visitor:
    """A browser of one's own and the tabs that are open in it, until it is told to stop."""

    def __init__(self, arguments):
        self._url = arguments.url.rstrip("/")
        self._out = arguments.out
        self._tools = DevTools(urllib.parse.urlsplit(arguments.url).hostname)
        self._tabs = {}
        self._stopping = False

    def stop(self, *_):
        self._stopping = True

    def _open(self, tab):
        self._tabs[tab.session] = tab
        return tab

    def _wait(self, condition, seconds):
        """Handles events until the condition holds; says whether it did."""
        deadline = time.monotonic() + seconds
        while not condition():
            # A signal has to be seen soon: the pipe does not say that one has come.
            event = self._tools.event(min(deadline, time.monotonic() + 0.2))
            if event is None:
                if time.monotonic() >= deadline:
                    return False
                continue
            tab = self._tabs.get(event.get("sessionId"))
            if tab is not None:
                tab.handle(event)
        return True

    def _expect(self, condition, what):
        if not self._wait(condition, PATIENCE):
            raise TimeoutError("%s: not loaded after %.0f s" % (what, PATIENCE))

    @classmethod
    def main(cls):
        parser = argparse.ArgumentParser()
        parser.add_argument("--out", required=True, type=pathlib.Path)
        parser.add_argument("--url", required=True)
        parser.add_argument("--seconds", type=float, default=600)
        arguments = parser.parse_args()
        visitor = cls(arguments)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, visitor.stop)
        visitor.live(arguments.seconds)


class Reader(Visitor):
    def __init__(self, arguments):
        super().__init__(arguments)
        self._reads = Notes(self._out / "reader-chromium.ndjson")
        self._writes = Notes(self._out / "writer-chromium.ndjson")
        self._own = Notes(self._out / "chromium-0.ndjson")

    def live(self, seconds):
        deadline = time.monotonic() + seconds
        left, busy = self._new_tab(), self._new_tab()
        try:
            self._show(left, "/write")
            self._own.add(kind="left-open", release=left.release, at=time.time())
            turn = 0
            while not self._stopping and time.monotonic() < deadline:
                self._show(busy, "/" if turn % 2 == 0 else "/search?q=Ada")
                self._show(busy, "/write")
                self._send(busy, AUTHORS[turn % len(AUTHORS)])
                self._wait(lambda: self._stopping, 0.5)
                turn += 1
            for path in left.run("[...document.querySelectorAll('link[rel=stylesheet],script[src]')].map(e => e.href || e.src)"):
                status = left.run("fetch(%s, {cache: 'reload'}).then(r => r.status)" % json.dumps(path))
                self._own.add(kind="old-asset", path=path, status=status, at=time.time())
            self._send(left, "Hedy Lamarr")
            self._own.add(kind="old-form", release=left.release, at=time.time())
        finally:
            self._tools.close()

    def _new_tab(self):
        return self._open(Tab(self._tools, self._reads, self._own))

    def _loaded(self, tab, what):
        self._expect(lambda: tab.shown, what)
        if tab.answer[0] != 200:
            return
        tab.release = tab.run("document.documentElement.dataset.release")
        # What a reader sees: a page with its style, written by the release that says so at its foot.
        seen = tab.run("[document.styleSheets.length, document.styleSheets[0]?.cssRules.length ?? 0,"
                       " document.querySelector('footer')?.innerText ?? '']")
        whole = seen[0] == 1 and seen[1] > 0 and seen[2] == "Guestbook %s" % tab.release
        self._own.add(kind="shown", what=what, release=tab.release, at=time.time())
        if not whole:
            self._own.add(kind="problem", at=time.time(), what="%s: style sheets, rules and foot are %s" % (what, seen))

    def _show(self, tab, path):
        tab.shown = False
        self._tools.call("Page.navigate", tab.session, url=self._url + path)
        self._loaded(tab, path)

    def _send(self, tab, author):
        """Fills in the form that the page has, of whichever release, and presses its button."""
        key = tab.run("document.querySelector('[name=request_id]').value")
        given, _, family = author.partition(" ")
        values = {"author": author, "given_name": given, "family_name": family, "message": "Written in a browser"}
        began, tab.shown = time.time(), False
        tab.run("for (const [name, value] of Object.entries(%s)) {"
                " const field = document.querySelector(`[name=${name}]`); if (field) field.value = value; }"
                "document.querySelector('form button').click()" % json.dumps(values))
        self._loaded(tab, "the form of %s" % tab.release)
        status, headers = tab.answer
        where = tab.run("location.pathname")
        note = {"kind": "write", "table": "entry", "key": key, "author": author, "attempt": 1, "began": began,
                "ended": time.time(), "release": tab.release}
        if status == 200 and where.startswith("/entries/"):
            self._writes.add(**note, status=303, outcome="acknowledged")
        elif status == 503 and "retry-after" in headers:
            self._writes.add(**note, status=503, outcome="refused", retry_after=headers["retry-after"],
                             by=headers.get("x-refused-by", "gate"))
        else:
            self._writes.add(**note, status=status, outcome="rejected", problem="the browser shows %s" % where)


if __name__ == "__main__":
    sys.exit(Reader.main())
