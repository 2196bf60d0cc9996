# SPDX-License-Identifier: Apache-2.0
"""Somebody who is logged in at a site and has pages of it open, which carry the browser script, through one upgrade and the next.

    site_tabs.py --out DIRECTORY --url URL [--seconds N]

`reading` shows a list; in each `writing-N` a form is half typed. When the client is told to stop, it looks whether their assets are there still, and each form is sent
as it is. What a tab shows and is told is noted, in its order.
"""

import json
import sys
import time

from chromium import Visitor
from clients import Notes
from open_tabs import OpenTab
from site_clients import PASSWORD, READER

FORMS = 5
# A field that the next release calls otherwise, and one that it does not.
TITLE, AUTHOR = "Half a title on page %d", "Mary Shelley, unfinished on page %d"


class SiteTab(OpenTab):
    release_said = "document.querySelector('meta[name=release]')?.content"


class SiteTabs(Visitor):
    def __init__(self, arguments):
        super().__init__(arguments)
        self._notes = Notes(self._out / "site-tabs-0.ndjson")

    def live(self, seconds):
        try:
            self._log_in()
            self._go("reading", "/")
            writing = [self._go("writing-%d" % number, "/add/") for number in range(FORMS)]
            for number, tab in enumerate(writing):
                tab.type("title", TITLE % number)
                tab.type("author", AUTHOR % number)
            self._notes.add(kind="ready", at=time.time())
            self._wait(lambda: self._stopping, seconds)
            for tab in writing:
                self._send(tab)
        finally:
            self._tools.close()

    def _go(self, name, path):
        tab = self._open(SiteTab(self._tools, self._notes, name, lambda tab, read_only: None))
        tab.go(self._url + path)
        self._expect(lambda: tab.shown and tab.run("!!window.sluice?.release"), name)
        return tab

    def _log_in(self):
        tab = self._go("login", "/login/")
        tab.type("username", READER)
        tab.type("password", PASSWORD)
        tab.shown = False
        tab.run("document.querySelector('form button').click()")
        self._expect(lambda: tab.shown and tab.run("document.body.innerText.includes('Logged in as')"), "the page after the login")

    def _send(self, tab):
        kept = tab.run("['title', 'author'].map(name => document.querySelector(`[name=${name}]`)?.value)")
        for path in tab.run("[...document.querySelectorAll('link[rel=stylesheet],script[src]')].map(e => e.href || e.src)"):
            status = tab.run("fetch(%s, {cache: 'reload'}).then(r => r.status)" % json.dumps(path))
            self._notes.add(kind="asset", tab=tab.name, path=path, status=status)
        tab.shown = False
        tab.run("document.querySelector('form button').click()")
        self._expect(lambda: tab.shown, "the page after the form")
        self._notes.add(kind="sent", tab=tab.name, kept=kept, status=tab.answer[0], path=tab.run("location.pathname"))


if __name__ == "__main__":
    sys.exit(SiteTabs.main())
