# SPDX-License-Identifier: Apache-2.0
"""The snippet for Varnish in a real varnishd, in front of an application whose release changes and whose pages may be slow."""

import http.client
import http.server
import os
import pathlib
import socket
import subprocess
import tempfile
import threading
import time
import unittest

SNIPPET = pathlib.Path(__file__).resolve().parent.parent / "sluice.vcl"
PATIENCE = float(os.environ.get("PATIENCE", "30"))


class Application(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self):
        self.release, self.asked = "v1", []
        self.slow_has_come, self.slow_may_go = threading.Event(), threading.Event()
        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        # As an application does: what it says is decided when the request comes.
        release = self.server.release
        self.server.asked.append(self.path)
        if self.path == "/slow" and release == "v1":
            self.server.slow_has_come.set()
            self.server.slow_may_go.wait(PATIENCE)
        body = release.encode()
        self.send_response(200)
        for name, value in {"Content-Length": str(len(body)), "Cache-Control": "max-age=3600", "X-Cache-Keys": "all %s" % self.path.strip("/")}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


class VarnishTests(unittest.TestCase):
    def setUp(self):
        self.application = Application()
        self.addCleanup(self.application.server_close)
        self.addCleanup(self.application.shutdown)
        self.addCleanup(self.application.slow_may_go.set)
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        vcl = pathlib.Path(directory.name, "site.vcl")
        vcl.write_text('vcl 4.1;\ninclude "%s";\nbackend default { .host = "127.0.0.1"; .port = "%d"; }\n' % (
            SNIPPET, self.application.server_address[1]))
        log = open(pathlib.Path(directory.name, "log"), "wb")
        self.addCleanup(log.close)
        self.varnish = subprocess.Popen(
            ["/usr/sbin/varnishd", "-F", "-j", "none", "-n", directory.name + "/work", "-a", "127.0.0.1:%d" % self.port, "-f", vcl,
             "-s", "malloc,16m", "-T", "none", "-p", "vcc_allow_inline_c=off"], stdout=log, stderr=log)
        self.addCleanup(self.end)
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                break
            except OSError:
                if time.monotonic() > deadline or self.varnish.poll() is not None:
                    raise RuntimeError("varnishd does not answer: " + pathlib.Path(directory.name, "log").read_text())
                time.sleep(0.05)

    def end(self):
        self.varnish.terminate()
        self.varnish.wait()

    def ask(self, method, path, host="shop.example", source=None, **headers):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE, source_address=source)
        connection.request(method, path, headers={"Host": host, **{name.replace("_", "-"): value for name, value in headers.items()}})
        answer = connection.getresponse()
        body = answer.read().decode()
        connection.close()
        return answer.status, body, answer.headers

    def get(self, path, host="shop.example"):
        return self.ask("GET", path, host)[1]

    def test_after_a_ban_nothing_old_is_served_and_other_sites_keep_what_they_have(self):
        for host in ("shop.example", "blog.example"):
            self.assertEqual([self.get("/", host), self.get("/page", host)], ["v1"] * 2)
        self.application.release = "v2"
        self.assertEqual(self.get("/"), "v1")
        self.assertEqual(self.ask("BAN", "/")[0], 200)
        self.assertEqual([self.get("/"), self.get("/page"), self.get("/", "blog.example")], ["v2", "v2", "v1"])

    def test_what_the_old_release_was_asked_before_the_ban_and_answers_after_it_is_not_kept(self):
        seen = []
        reader = threading.Thread(target=lambda: seen.append(self.get("/slow")))
        reader.start()
        self.assertTrue(self.application.slow_has_come.wait(PATIENCE))
        self.application.release = "v2"
        self.assertEqual(self.ask("BAN", "/")[0], 200)
        self.application.slow_may_go.set()
        reader.join()
        # Who had asked for it has it, and nobody else.
        self.assertEqual(seen, ["v1"])
        self.assertEqual([self.get("/slow") for _ in range(3)], ["v2"] * 3)
        self.assertEqual(self.application.asked.count("/slow"), 2)

    def test_a_ban_by_keys_forgets_what_has_one_of_them(self):
        for path in ("/a", "/b", "/ab"):
            self.get(path)
        self.application.release = "v2"
        self.assertEqual(self.ask("BAN", "/", X_Ban_Keys="a c")[0], 200)
        self.assertEqual([self.get("/a"), self.get("/b"), self.get("/ab")], ["v2", "v1", "v1"])
        self.assertEqual(self.ask("BAN", "/", X_Ban_Keys="a || obj.status != 0")[0], 400)

    def test_a_stranger_bans_nothing_and_what_is_said_for_the_cache_stays_in_it(self):
        self.get("/")
        self.application.release = "v2"
        self.assertEqual(self.ask("BAN", "/", source=("127.0.0.2", 0))[0], 403)
        _, body, headers = self.ask("GET", "/")
        self.assertEqual((body, headers["X-Sluice-Host"], headers["X-Cache-Keys"]), ("v1", None, None))

    def test_what_pages_are_told_is_never_kept(self):
        self.get("/_sluice/mode.json")
        self.get("/_sluice/mode.json")
        self.get("/_sluice/events")
        self.assertEqual(self.application.asked, ["/_sluice/mode.json"] * 2 + ["/_sluice/events"])


if __name__ == "__main__":
    unittest.main()
