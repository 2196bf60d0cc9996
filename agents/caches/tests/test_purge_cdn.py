# SPDX-License-Identifier: Apache-2.0
"""The action that purges a CDN, against a server that records what it is asked and answers as the CDNs do."""

import http.server
import json
import os
import pathlib
import subprocess
import tempfile
import threading
import unittest

PROGRAM = pathlib.Path(__file__).resolve().parent.parent / "purge-cdn"
SECRET = "s3cr3t-t0k3n"


class Recorder(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self):
        self.asked, self.answers = [], []
        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()
        self.url = "http://127.0.0.1:%d" % self.server_address[1]


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"] or 0)).decode()
        self.server.asked.append((self.path, dict(self.headers), body))
        status, headers, text = self.server.answers.pop(0) if self.server.answers else (200, {}, self.done(body))
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(text))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(text.encode())

    def done(self, body):
        if self.path.startswith("/zones/"):
            return json.dumps({"success": True, "errors": [], "messages": [], "result": {"id": "1"}})
        return json.dumps({tag: "108-1391560174-974124" for tag in self.headers["Surrogate-Key"].split()})


class PurgeTests(unittest.TestCase):
    def setUp(self):
        self.cdn = Recorder()
        self.addCleanup(self.cdn.server_close)
        self.addCleanup(self.cdn.shutdown)
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.token = pathlib.Path(directory.name, "token")
        self.token.write_text(SECRET + "\n")
        self.token.chmod(0o600)

    def purge(self, cdn, *tags, api=None, more=()):
        where = ["--zone", "z1"] if cdn == "cloudflare" else ["--service", "s1"]
        done = subprocess.run(
            ["/usr/bin/python3", "-I", PROGRAM, cdn, *where, "--token-file", self.token, "--api", api or self.cdn.url, *more, *tags],
            env={"PATH": os.environ["PATH"]}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.said = done.stdout
        self.assertNotIn(SECRET, self.said)
        return done.returncode

    def test_cloudflare_is_asked_as_its_documentation_says(self):
        self.assertEqual(self.purge("cloudflare", "shop", "blog:1"), 0, self.said)
        (path, headers, body), = self.cdn.asked
        self.assertEqual((path, headers["Authorization"], headers["Content-Type"]), ("/zones/z1/purge_cache", "Bearer " + SECRET, "application/json"))
        self.assertEqual(json.loads(body), {"tags": ["shop", "blog:1"]})

    def test_fastly_is_asked_as_its_documentation_says_and_never_softly(self):
        self.assertEqual(self.purge("fastly", "shop", "blog"), 0, self.said)
        (path, headers, body), = self.cdn.asked
        self.assertEqual((path, headers["Fastly-Key"], headers["Surrogate-Key"], body), ("/service/s1/purge", SECRET, "shop blog", ""))
        self.assertNotIn("Fastly-Soft-Purge", headers)

    def test_many_tags_are_purged_in_calls_that_each_cdn_takes(self):
        tags = ["t%d" % number for number in range(70)]
        self.assertEqual(self.purge("cloudflare", *tags), 0, self.said)
        self.assertEqual([len(json.loads(body)["tags"]) for _, _, body in self.cdn.asked], [30, 30, 10])
        self.assertEqual([tag for _, _, body in self.cdn.asked for tag in json.loads(body)["tags"]], tags)

    def test_what_is_busy_is_asked_again_when_it_says_and_what_is_wrong_is_not(self):
        self.cdn.answers = [(429, {"Retry-After": "1"}, "slow down"), (503, {}, "away")]
        self.assertEqual(self.purge("cloudflare", "shop"), 0, self.said)
        self.assertEqual(len(self.cdn.asked), 3)
        self.cdn.asked, self.cdn.answers = [], [(403, {}, '{"success": false}')]
        self.assertEqual(self.purge("cloudflare", "shop"), 1)
        self.assertEqual(len(self.cdn.asked), 1)
        self.assertIn("answered 403", self.said)
        self.assertIn("may the token in", self.said)

    def test_it_gives_up_in_time_and_fails(self):
        self.cdn.answers = [(500, {}, "no")] * 100
        self.assertEqual(self.purge("fastly", "shop", more=["--for", "1"]), 1)
        self.assertIn("given up after", self.said)
        self.assertEqual(self.purge("fastly", "shop", api="http://127.0.0.1:1", more=["--for", "0.2"]), 1)
        self.assertIn("cannot be asked", self.said)

    def test_a_200_that_does_not_say_that_it_is_done_is_a_failure(self):
        for cdn, text in (("cloudflare", '{"success": false, "errors": [{"message": "no such zone"}]}'), ("fastly", '{"shop": "1"}')):
            self.cdn.answers = [(200, {}, text)]
            self.assertEqual(self.purge(cdn, "shop", "blog"), 1)
            self.assertIn("did not say that it was done", self.said)

    def test_a_token_goes_nowhere_else_and_belongs_to_its_owner_alone(self):
        other = Recorder()
        self.addCleanup(other.server_close)
        self.addCleanup(other.shutdown)
        self.cdn.answers = [(307, {"Location": other.url + "/zones/z1/purge_cache"}, "")]
        self.assertEqual(self.purge("cloudflare", "shop"), 1)
        self.assertEqual(other.asked, [])
        self.assertEqual(self.purge("cloudflare", "shop", api="http://cdn.example"), 2)
        self.assertIn("use https", self.said)
        self.token.chmod(0o644)
        self.assertEqual(self.purge("cloudflare", "shop"), 1)
        self.assertIn("chmod 600", self.said)

    def test_a_tag_that_would_be_two_is_refused(self):
        for tag in ("a b", "a,b", "a\nFastly-Soft-Purge: 1", ""):
            self.assertEqual(self.purge("fastly", tag), 2, self.said)
        self.assertEqual(self.cdn.asked, [])


if __name__ == "__main__":
    unittest.main()
