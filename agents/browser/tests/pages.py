# SPDX-License-Identifier: Apache-2.0
"""A page in a real Chromium, behind a node's nginx, for the tests of the browser script."""

import base64
import json
import os
import pathlib
import sys
import time
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path += [str(HERE), str(HERE.parents[2] / "Tests" / "Fixtures" / "fleet")]

import chromium  # noqa: E402
from node_site import Site  # noqa: E402

PATIENCE = float(os.environ.get("PATIENCE", "30"))
# What WCAG calls the contrast of two colours; 7 is its best mark.
CONTRAST = """((one, other) => {
    const light = colour => { const [r, g, b] = colour.match(/[\\d.]+/g).map(Number).map(v => v / 255).map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
        return .2126 * r + .7152 * g + .0722 * b; };
    const [a, b] = [light(one), light(other)];
    return (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
})"""
# The notice, wherever it is: in a shadow of its own.
BAR = "[...document.querySelectorAll('div')].map(e => e.shadowRoot).find(Boolean)?.querySelector('[role=status]')"


class Page:
    """A tab that can be told what to do, and keeps what went wrong in it."""

    def __init__(self, tools, url):
        self.tools = tools
        target = tools.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = tools.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.target = target
        for domain in ("Page", "Runtime", "Log"):
            self.call(domain + ".enable")
        self.call("Page.addScriptToEvaluateOnNewDocument", source="window.violations = [];"
                  "addEventListener('securitypolicyviolation', e => violations.push(e.violatedDirective + ' ' + e.blockedURI))")
        self.url = url

    def call(self, method, **parameters):
        return self.tools.call(method, self.session, **parameters)

    def go(self, path):
        self.call("Page.navigate", url=self.url + path)
        self.until("document.readyState === 'complete' && location.pathname + location.search === %s" % json.dumps(path))

    def run(self, script):
        result = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in result:
            raise OSError("in the page: %s" % json.dumps(result["exceptionDetails"])[:500])
        return result["result"].get("value")

    def until(self, condition):
        """Waits until an expression holds. A page that is being left answers with an error meanwhile."""
        deadline, last = time.monotonic() + PATIENCE, None
        while time.monotonic() < deadline:
            try:
                last = self.run("(v => v instanceof Node ? true : v)(%s)" % condition)
                if last:
                    return last
            except OSError as error:
                last = error
            time.sleep(0.05)
        raise AssertionError("not so after %d s: %s (%r); the page:\n%s" % (
            PATIENCE, condition, last, self.run("document.body.innerText + '\\n' + (%s?.innerText ?? 'no bar')" % BAR)[:1500]))

    def text(self):
        return self.run("(%s)?.innerText ?? ''" % BAR).strip()

    def until_said(self, words):
        self.until("((%s)?.innerText ?? '').includes(%s)" % (BAR, json.dumps(words)))

    def until_silent(self):
        self.until("!(%s) || (%s).className === 'quiet'" % (BAR, BAR))

    def type(self, selector, words):
        """As a person does: focus, then keys."""
        self.run("document.querySelector(%s).focus()" % json.dumps(selector))
        self.call("Input.insertText", text=words)

    def press(self, label):
        self.run("[...(%s).querySelectorAll('button')].find(b => b.textContent === %s).click()" % (BAR, json.dumps(label)))

    def picture(self, name):
        folder = os.environ.get("SLUICE_PICTURES")
        if folder:
            data = self.call("Page.captureScreenshot", format="png")["data"]
            pathlib.Path(folder, name + ".png").write_bytes(base64.b64decode(data))


class PageTests(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.tools = chromium.DevTools("127.0.0.1")

    @classmethod
    def tearDownClass(cls):
        cls.tools.close()

    def setUp(self):
        self.site = Site()
        self.pages = []

    def tearDown(self):
        for page in self.pages:
            # A page may be on its way to the next release.
            violations = page.until("window.violations && [window.violations]")[0]
            self.tools.call("Target.closeTarget", targetId=page.target)
            self.assertEqual(violations, [])
        self.site.close()

    def open(self, path, renew=True):
        page = Page(self.tools, self.site.url)
        self.pages.append(page)
        page.go(path)
        page.until("window.sluice?.release")
        return page

    def dress(self, page, width, height, scheme):
        page.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
