# SPDX-License-Identifier: Apache-2.0
"""A plain WSGI application, and Starlette; both over their own protocol, with the refusals of a real PostgreSQL."""

import asyncio
import json
import unittest
import wsgiref.util
import wsgiref.validate

import psycopg2
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

import agent
import database
import sluice_mode
from sluice_mode import asgi, wsgi

file = agent.mode_file


def setUpModule():
    database.create()
    database.guard()


def write():
    database.run("INSERT INTO note (text) VALUES ('x')")


def plain(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/late":
        def body():
            write()
            start_response("200 OK", [("Content-Type", "text/plain")])
            yield b"written"
        return body()
    status = "200 OK"
    try:
        if path in ("/write", "/caught", "/own"):
            write()
        if path == "/wrong":
            raise ValueError("a fault of the application")
    except psycopg2.Error as error:
        sluice_mode.note(error)
        if path == "/write":
            raise
        status = "400 Bad Request" if path == "/caught" else "503 Service Unavailable"
    headers = [("Content-Type", "text/plain")]
    if path == "/own" and status[0] == "5":
        headers.append(("Retry-After", "99"))
    start_response(status, headers)
    return [b"read-only" if sluice_mode.flags.read_only else b"normal"]


def ask(application, path, **environ):
    environ = {"SCRIPT_NAME": "", "PATH_INFO": path, "QUERY_STRING": "", **environ}
    wsgiref.util.setup_testing_defaults(environ)
    seen = []
    result = wsgiref.validate.validator(application)(environ, lambda status, headers, *_: seen.append((status, dict(headers))) or print)
    try:
        body = b"".join(result)
    finally:
        result.close()
    return int(seen[-1][0][:3]), seen[-1][1], body.decode()


class WSGITests(unittest.TestCase):
    application = staticmethod(wsgi.Middleware(plain))

    def tearDown(self):
        file.open_gate()

    def test_code_sees_the_mode_that_the_proxy_says_and_only_in_that_request(self):
        self.assertEqual(ask(self.application, "/", HTTP_X_SLUICE_MODE="read-only")[2], "read-only")
        self.assertFalse(sluice_mode.flags.read_only)
        self.assertEqual(ask(self.application, "/")[2], "normal")

    def test_a_refused_write_is_a_503_that_says_when_to_come_again_in_the_clients_words(self):
        file.close_gate()
        with database.Fence():
            for path in ("/write", "/late", "/caught"):
                status, headers, body = ask(self.application, path, HTTP_ACCEPT="application/json")
                self.assertEqual((status, headers["Retry-After"], headers["Cache-Control"]), (503, "7", "no-store"), path)
                self.assertEqual(json.loads(body), {"error": "read-only", "message": "We are upgrading.", "retryAfter": 7})
            status, headers, body = ask(self.application, "/write", HTTP_ACCEPT="text/html,application/json;q=0.9")
            self.assertTrue(headers["Content-Type"].startswith("text/html"))
            self.assertIn("We are upgrading.", body)
            self.assertEqual(ask(self.application, "/write")[2], "We are upgrading.\n")

    def test_an_answer_of_the_applications_own_that_says_when_to_come_again_stays(self):
        with database.Fence():
            self.assertEqual(ask(self.application, "/own")[1]["Retry-After"], "99")

    def test_other_errors_stay_what_they_are(self):
        self.assertRaises(ValueError, ask, self.application, "/wrong")

    def test_writes_go_on_without_the_fence(self):
        for path in ("/write", "/late", "/caught", "/own"):
            self.assertEqual(ask(self.application, path)[0], 200)


def starlette():
    async def show(request):
        return PlainTextResponse("%s %s" % (sluice_mode.flags.read_only, request.state.read_only))

    async def add(request):
        write()
        return PlainTextResponse("written")

    async def caught(request):
        try:
            write()
        except psycopg2.Error as error:
            sluice_mode.note(error)
            return PlainTextResponse("bad", 400)

    async def wrong(request):
        raise ValueError("a fault of the application")

    app = Starlette(routes=[Route("/", show), Route("/add", add), Route("/caught", caught), Route("/wrong", wrong)])
    app.add_middleware(asgi.Middleware)
    return app


async def call(app, path, **headers):
    sent, received = [], []

    async def receive():
        if received:
            # The client stays.
            await asyncio.Event().wait()
        received.append("request")
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "path": path, "raw_path": path.encode(),
             "query_string": b"", "scheme": "http", "server": ("localhost", 80), "root_path": "",
             "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]}
    await app(scope, receive, send)
    starts = [message for message in sent if message["type"] == "http.response.start"]
    assert len(starts) == 1, sent
    body = b"".join(message.get("body", b"") for message in sent if message["type"] == "http.response.body")
    return starts[0]["status"], dict(starts[0]["headers"]), body.decode()


class ASGITests(unittest.TestCase):
    def ask(self, path, **headers):
        return asyncio.run(call(starlette(), path, **headers))

    def test_code_and_request_see_the_mode_that_the_proxy_says(self):
        self.assertEqual(self.ask("/", x_sluice_mode="read-only")[2], "True True")
        self.assertEqual(self.ask("/")[2], "False False")

    def test_two_requests_at_once_do_not_see_each_others_mode(self):
        async def both():
            app = starlette()
            return await asyncio.gather(*(call(app, "/", x_sluice_mode=mode) for mode in ("read-only", "normal") * 20))
        self.assertEqual([body for _, _, body in asyncio.run(both())], ["True True", "False False"] * 20)

    def test_a_refused_write_is_a_503_that_says_when_to_come_again(self):
        with database.Fence():
            for path in ("/add", "/caught"):
                status, headers, body = self.ask(path, accept="application/json")
                self.assertEqual((status, headers[b"retry-after"]), (503, b"5"))
                self.assertEqual(json.loads(body)["error"], "read-only")
        self.assertEqual(self.ask("/add")[0], 200)

    def test_other_errors_stay_what_they_are(self):
        self.assertRaises(ValueError, self.ask, "/wrong")


if __name__ == "__main__":
    unittest.main()
