# SPDX-License-Identifier: Apache-2.0
"""Killed, or never told a mode, the adapter leaves an application as it is without it: the same requests to both, over real HTTP."""

import asyncio
import http.client
import io
import threading
import unittest
import wsgiref.simple_server
import wsgiref.util

import flask
import flask.sessions
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route

import agent
import database
from sluice_mode import asgi, wsgi
from sluice_mode.flask import Sluice
from test_wsgi_asgi import call

database.create()


def write():
    database.run("INSERT INTO note (text) VALUES ('x')")


# Flask


class StoredSessions(flask.sessions.SessionInterface):
    """In the database, and it says so in a header."""

    def open_session(self, app, request):
        return flask.sessions.SecureCookieSession()

    def save_session(self, app, session, response):
        write()
        response.headers["X-Saved"] = "yes"


def flask_site(adapt):
    app = flask.Flask(__name__, static_folder=".")
    app.logger.disabled = True
    app.secret_key = "for tests"
    app.session_interface = StoredSessions()
    if adapt:
        Sluice(app)

    @app.get("/")
    def show():
        return "shown"

    @app.post("/write")
    def add():
        write()
        return flask.redirect("/")

    @app.get("/wrong")
    def wrong():
        return {}["nothing"]

    @app.get("/bad")
    def bad():
        return "cannot save", 400, {"Set-Cookie": "a=b", "Retry-After": "9"}

    @app.get("/stream")
    def stream():
        return flask.Response(("line %d\n" % line for line in range(3)), mimetype="text/plain")

    @app.get("/broken")
    def broken():
        return flask.Response((str(1 // (2 - line)) for line in range(5)), mimetype="text/plain")

    @app.get("/file")
    def file():
        return flask.send_file(__file__)
    return app


# WSGI


class Counted:
    """Not a list, and its length is known: a server takes Content-Length from it."""

    def __len__(self):
        return 1

    def __iter__(self):
        return iter([b"counted"])


def plain(environ, start_response):
    path, headers = environ["PATH_INFO"], [("Content-Type", "text/plain")]
    if path == "/wrong":
        raise ValueError("a fault of the application")
    if path == "/late":
        def body():
            start_response("201 Created", headers)
            yield b"late"
        return body()
    write = start_response("404 Not Found" if path == "/missing" else "200 OK", headers)
    if path == "/written":
        write(b"written ")
    if path == "/file":
        return environ["wsgi.file_wrapper"](io.BytesIO(b"a file\n" * 10_000))
    return {"/counted": Counted(), "/bits": iter([b"one", b"", b"two"]), "/nothing": []}.get(path, [b"plain"])


class Server:
    """An application behind wsgiref's server on loopback."""

    def __init__(self, application):
        class Handler(wsgiref.simple_server.WSGIRequestHandler):
            def get_stderr(self):
                return io.StringIO()

            def log_message(self, *_):
                pass
        self.server = wsgiref.simple_server.make_server("127.0.0.1", 0, application, handler_class=Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)
        self.thread.start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()

    def ask(self, method, path, mode):
        connection = http.client.HTTPConnection("127.0.0.1", self.server.server_port, timeout=60)
        try:
            connection.request(method, path, headers={} if mode is None else {"X-Sluice-Mode": mode})
            answer = connection.getresponse()
            try:
                body = answer.read()
            except http.client.IncompleteRead as error:
                body = b"incomplete: " + error.partial
            return answer.status, [pair for pair in answer.getheaders() if pair[0] != "Date"], body
        finally:
            connection.close()


REQUESTS = [(method, path) for method in ("GET", "HEAD") for path in (
    "/", "/missing", "/wrong", "/bad", "/stream", "/broken", "/file", "/late", "/written", "/counted", "/bits", "/nothing")]
REQUESTS += [("POST", "/write"), ("DELETE", "/"), ("OPTIONS", "/")]


class WithoutModeTests(unittest.TestCase):
    def compare(self, bare, adapted, requests=REQUESTS, kinds=tuple(agent.NO_FILE), modes=tuple(agent.NO_HEADER)):
        servers = [Server(bare), Server(adapted)]
        self.addCleanup(lambda: [server.stop() for server in servers])
        wanted = [servers[0].ask(*request, None) for request in requests]
        self.assertGreater(len({status for status, _, _ in wanted}), 2)
        for kind in kinds:
            with agent.without_mode(kind):
                for mode in modes:
                    for request, answer in zip(requests, wanted):
                        self.assertEqual(servers[1].ask(*request, mode), answer, (kind, mode, request))
        return servers, wanted

    def test_a_flask_site_is_as_without_the_adapter(self):
        bare, adapted = flask_site(False), flask_site(True)
        _, wanted = self.compare(bare, adapted)
        self.assertIn(("X-Saved", "yes"), wanted[0][1])

    def test_a_wsgi_application_is_as_without_the_adapter(self):
        self.compare(plain, wsgi.Middleware(plain))

    def test_a_server_whose_file_wrapper_is_a_function_gets_its_own_file_back(self):
        """As uWSGI, which looks whether the result is the one that it has made."""
        file = io.BytesIO(b"a file")

        def application(environ, start_response):
            start_response("200 OK", [])
            return environ["wsgi.file_wrapper"](file)
        environ = {"wsgi.file_wrapper": lambda given: given}
        wsgiref.util.setup_testing_defaults(environ)
        self.assertIs(wsgi.Middleware(application)(environ, lambda *_: print), file)

    def test_a_file_that_cannot_be_understood_changes_nothing_for_whoever_reads(self):
        for bare, adapted in ((plain, wsgi.Middleware(plain)), (flask_site(False), flask_site(True))):
            requests = [(method, path) for method, path in REQUESTS if method == "GET"]
            servers, wanted = self.compare(bare, adapted, requests, ["no file"], [None])
            for text in agent.GARBAGE:
                with agent.garbage(text):
                    for request, (status, headers, body) in zip(requests, wanted):
                        found = servers[1].ask(*request, None)
                        # What writes on reads is left out, and nothing else.
                        self.assertEqual(found, (status, [pair for pair in headers if pair[0] != "X-Saved"], body), (text[:20], request))


class ASGIWithoutModeTests(unittest.TestCase):
    def test_an_asgi_application_is_as_without_the_adapter(self):
        async def show(request):
            return PlainTextResponse("shown", headers={"Retry-After": "9"})

        async def bad(request):
            return PlainTextResponse("cannot save", 400)

        async def stream(request):
            return StreamingResponse((str(line) for line in range(3)))

        async def wrong(request):
            raise ValueError("a fault of the application")
        site = Starlette(routes=[Route("/", show), Route("/bad", bad), Route("/stream", stream), Route("/wrong", wrong)])

        def ask(app, path, mode):
            try:
                return asyncio.run(call(app, path, **({} if mode is None else {"x_sluice_mode": mode})))
            except ValueError as error:
                return str(error)
        paths = ("/", "/bad", "/stream", "/wrong", "/missing")
        wanted = [ask(site, path, None) for path in paths]
        cases = [agent.without_mode(kind) for kind in agent.NO_FILE] + [agent.garbage(text) for text in agent.GARBAGE]
        for case in cases:
            with case:
                for mode in (None, "", "garbage"):
                    self.assertEqual([ask(asgi.Middleware(site), path, mode) for path in paths], wanted)

    def test_what_is_around_the_adapter_sees_what_the_application_leaves_in_the_scope(self):
        seen = {}

        async def show(request):
            return PlainTextResponse("shown")
        site = asgi.Middleware(Starlette(routes=[Route("/", show)]))

        async def around(scope, receive, send):
            await site(scope, receive, send)
            seen.update(scope)
        asyncio.run(call(around, "/"))
        self.assertIs(seen.get("endpoint"), show)


if __name__ == "__main__":
    unittest.main()
