# SPDX-License-Identifier: Apache-2.0
import unittest

import flask
import flask.sessions
import psycopg2

import agent
import database
from sluice_mode import flags, unless_read_only
from sluice_mode.flask import Sluice

file = agent.mode_file


def setUpModule():
    database.create()
    database.guard()


def write():
    database.run("INSERT INTO note (text) VALUES ('x')")


class StoredSessions(flask.sessions.SessionInterface):
    """Writes with each answer, as interfaces that keep sessions in a database do."""

    def open_session(self, app, request):
        return flask.sessions.SecureCookieSession()

    def save_session(self, app, session, response):
        write()


def make(**options):
    app = flask.Flask(__name__)
    app.logger.disabled = True
    if options.get("stored"):
        app.session_interface = StoredSessions()
    Sluice(app)

    @app.get("/")
    def show():
        return flask.render_template_string("{{ 'read-only' if read_only_mode else 'normal' }}, code: ") + str(flags.read_only)

    @app.route("/write", methods=["GET", "POST"])
    def add():
        write()
        return "written"

    @app.get("/counted")
    def counted():
        unless_read_only(write)()
        return "counted"

    @app.get("/wrong")
    def wrong():
        return {}["nothing"]

    if options.get("handler"):
        @app.errorhandler(psycopg2.Error)
        def failed(error):
            return "the database failed", options["handler"]
    return app.test_client()


class FlaskTests(unittest.TestCase):
    def tearDown(self):
        file.open_gate()

    def test_code_and_templates_see_the_mode(self):
        self.assertEqual(make().get("/", headers={"X-Sluice-Mode": "read-only"}).text, "read-only, code: True")
        self.assertEqual(make().get("/").text, "normal, code: False")
        file.close_gate()
        self.assertEqual(make().get("/").text, "read-only, code: True")

    def test_a_refused_write_is_a_503_whatever_the_applications_own_handler_makes_of_it(self):
        with database.Fence():
            for client in (make(), make(handler=400), make(handler=500)):
                answer = client.post("/write", headers={"Accept": "application/json"})
                self.assertEqual((answer.status_code, answer.headers["Retry-After"]), (503, "5"))
                self.assertEqual(answer.json["error"], "read-only")
                page = client.get("/write", headers={"Accept": "text/html"})
                self.assertEqual(page.status_code, 503)
                self.assertIn("<h1>Read-only for the moment</h1>", page.text)
        self.assertEqual(make().post("/write").text, "written")

    def test_an_answer_of_the_handler_that_is_no_error_stays(self):
        with database.Fence():
            self.assertEqual(make(handler=200).get("/write").text, "the database failed")

    def test_sessions_in_a_database_do_not_fail_a_reader(self):
        reader = make(stored=True)
        with database.Fence():
            self.assertEqual(reader.get("/", headers={"X-Sluice-Mode": "read-only"}).status_code, 200)
            # A request that came before the window and ends in it.
            self.assertEqual(reader.get("/").status_code, 200)
        before = database.run("SELECT count(*) FROM note")
        reader.get("/")
        self.assertNotEqual(database.run("SELECT count(*) FROM note"), before)

    def test_a_counter_is_left_out(self):
        with database.Fence():
            for mode in ("read-only", "normal"):
                self.assertEqual(make().get("/counted", headers={"X-Sluice-Mode": mode}).status_code, 200)

    def test_other_errors_stay_what_they_are(self):
        self.assertEqual(make().get("/wrong").status_code, 500)
        self.assertEqual(make().get("/missing").status_code, 404)
        self.assertEqual(make().delete("/write").status_code, 405)


if __name__ == "__main__":
    unittest.main()
