# SPDX-License-Identifier: Apache-2.0
"""People with a page open: a browser whose tabs carry the browser script, through one upgrade and the next.

    open_tabs.py --out DIRECTORY --url URL [--seconds N]

Tabs: `reading` and `writing`, in which a message is half typed, from before the window; `late` is opened as soon as one of them
has been told of it, and writes the file `late-is-told` when it has been told as well. `following`, without the browser script, listens to the
application itself: with an EventSource of the page from before the window, and another that it makes in the window. When the client is told to stop, the tab that writes looks
whether its assets are there still, and sends its form. What a tab shows and is told is noted, in its order.
"""

import json
import sys
import time

from chromium import Tab, Visitor
from clients import Notes

WORDS = "Half a sentence, and the other half after two upgrades"
HEARD = "addEventListener('sluice:mode', e => told(JSON.stringify({readOnly: e.detail.readOnly, at: Date.now() / 1000})))"


class OpenTab(Tab):
    takes_script = True
    # Where a page says of which release it is.
    release_said = "document.documentElement.dataset.release"

    def __init__(self, tools, notes, name, on_told):
        self.name, self._own, self._on_told = name, notes, on_told
        super().__init__(tools, Nobody(), Named(notes, name))
        tools.call("Runtime.addBinding", self.session, name="told")
        tools.call("Page.addScriptToEvaluateOnNewDocument", self.session, source=HEARD)

    def go(self, url):
        self.shown = False
        self._tools.call("Page.navigate", self.session, url=url)

    def handle(self, event):
        super().handle(event)
        if event.get("method") == "Runtime.bindingCalled":
            told = json.loads(event["params"]["payload"])
            self._own.add(kind="told", tab=self.name, **told)
            self._on_told(self, told["readOnly"])
        elif event.get("method") == "Page.loadEventFired":
            try:
                self.release = self.run(self.release_said)
            except OSError:
                # It is on its way to the next page already, which will say.
                return
            self._own.add(kind="shown", tab=self.name, release=self.release, at=time.time())

    def type(self, field, words):
        """As a person does."""
        self.run("document.querySelector('[name=%s]').focus()" % field)
        self._tools.call("Input.insertText", self.session, text=words)


class FollowingTab(OpenTab):
    """A page of the old release with an EventSource of the application's own, which nobody makes anew."""

    takes_script = False

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.heard = {}
        self._tools.call("Runtime.addBinding", self.session, name="heard")

    def listen(self, name):
        self.heard[name] = []
        self.run("(() => { window.sources ??= {}; const source = sources[%s] = new EventSource('/stream'); let last = '';"
                 " source.onmessage = e => { if (e.data !== last) heard(JSON.stringify([%s, last = e.data])); }; })()" % (
                     json.dumps(name), json.dumps(name)))

    def handle(self, event):
        if event.get("method") == "Runtime.bindingCalled" and event["params"]["name"] == "heard":
            name, release = json.loads(event["params"]["payload"])
            self.heard[name].append(release)
        elif event.get("method") != "Network.loadingFailed":
            # A stream that ends with its release is no failure of the page.
            super().handle(event)


class Nobody:
    def add(self, **_):
        """Pages and assets are counted by the other clients."""


class Named:
    """Notes of one tab."""

    def __init__(self, notes, tab):
        self._notes, self._tab = notes, tab

    def add(self, **values):
        self._notes.add(tab=self._tab, **values)


class TabKeeper(Visitor):
    def __init__(self, arguments):
        super().__init__(arguments)
        self._notes = Notes(self._out / "open-tabs-0.ndjson")

    def live(self, seconds):
        try:
            # First, because the browser script hears only in the page that is in front.
            self._following = self._open(FollowingTab(self._tools, self._notes, "following", self._told))
            self._following.go(self._url + "/")
            self._expect(lambda: self._following.release, "following")
            self._following.listen("before")
            self._expect(lambda: self._following.heard["before"], "an EventSource")
            reading, writing = self._go("reading", "/"), self._go("writing", "/write")
            for tab in (reading, writing):
                self._expect(lambda: tab.release, tab.name)
            writing.type("author", "Mary Shelley")
            writing.type("message", WORDS)
            self._notes.add(kind="ready", at=time.time())
            self._wait(lambda: self._stopping, seconds)
            self._end(writing)
        finally:
            self._tools.close()

    def _go(self, name, path):
        tab = self._open(OpenTab(self._tools, self._notes, name, self._told))
        tab.go(self._url + path)
        return tab

    def _told(self, tab, read_only):
        if not read_only:
            return
        if tab.name == "late":
            (self._out / "late-is-told").touch()
        elif not any(other.name == "late" for other in self._tabs.values()):
            self._go("late", "/")
            self._following.listen("in the window")

    def _end(self, writing):
        heard = self._following.heard
        self._wait(lambda: all(releases[-1:] == ["v3"] for releases in heard.values()), 20)
        states = self._following.run("Object.fromEntries(Object.entries(sources).map(([name, source]) => [name, source.readyState]))")
        self._notes.add(kind="followed", heard=heard, states=states)
        kept = writing.run("document.querySelector('[name=message]').value")
        for path in writing.run("[...document.querySelectorAll('link[rel=stylesheet],script[src]')].map(e => e.href || e.src)"):
            status = writing.run("fetch(%s, {cache: 'reload'}).then(r => r.status)" % json.dumps(path))
            self._notes.add(kind="asset", path=path, status=status)
        writing.shown = False
        writing.run("document.querySelector('form button').click()")
        self._expect(lambda: writing.shown, "the page after the form")
        self._notes.add(kind="sent", kept=kept, status=writing.answer[0], path=writing.run("location.pathname"))


if __name__ == "__main__":
    sys.exit(TabKeeper.main())
