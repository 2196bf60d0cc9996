# SPDX-License-Identifier: Apache-2.0
"""The guestbook, release v2: an entry has a given name and a family name."""

import json
import os
import pathlib
import time
import uuid

import flask
import psycopg2
import psycopg2.errors

from database import Database

RELEASE = "v2"
PAGE = 20
PAGE_CACHE_SECONDS = "120"

HERE = pathlib.Path(__file__).resolve().parent
ASSETS = json.loads((HERE / "static" / "assets.json").read_text())
MODE_FILE = os.environ.get("GUESTBOOK_MODE_FILE", "")
# Behind a proxy that puts nothing into pages: the options of the browser script, which they carry themselves.
SCRIPT = os.environ.get("GUESTBOOK_SCRIPT", "")
STAMPED = "GUESTBOOK_STAMPED" in os.environ
FAULTS = pathlib.Path(os.environ.get("GUESTBOOK_FAULTS", "/nonexistent"))

database = Database(os.environ["GUESTBOOK_DSN"])
application = flask.Flask(__name__, static_folder=None)

if os.environ.get("GUESTBOOK_STRICT"):
    # As many frameworks do: a release that does not find its own schema ends at once.
    try:
        database.run("SELECT given_name FROM entry LIMIT 0")
    except psycopg2.errors.UndefinedColumn as error:
        raise SystemExit("guestbook %s does not start on this schema: %s" % (RELEASE, error))


@application.context_processor
def common():
    return {"release": RELEASE, "assets": ASSETS, "script": SCRIPT}


@application.after_request
def say_release(response):
    response.headers["X-Release"] = RELEASE
    if "Cache-Control" not in response.headers:
        response.headers["Cache-Control"] = "no-store"
    return response


@application.after_request
def say_database(response):
    """For whoever checks that an answer is of one release, one server and one schema: which of them this one is of."""
    if STAMPED and flask.request.endpoint not in ("livez", "healthz", "mode", "stream"):
        response.headers["X-Database"] = database.stamp()
    return response


def cacheable(page):
    """The proxy may keep this page; a browser asks again each time."""
    response = flask.make_response(page)
    response.headers["Cache-Control"] = "no-cache"
    response.headers["X-Accel-Expires"] = PAGE_CACHE_SECONDS
    return response


@application.get("/")
def entries():
    page = max(1, flask.request.args.get("page", 1, type=int))
    rows = database.run(
        "SELECT id, given_name, family_name, message, created_at FROM entry"
        " ORDER BY created_at DESC, id DESC LIMIT %s OFFSET %s",
        (PAGE, (page - 1) * PAGE))
    return cacheable(flask.render_template("entries.html", entries=rows, page=page))


@application.get("/entries/<int:number>")
def entry(number):
    rows = database.run(
        "SELECT id, given_name, family_name, message, created_at FROM entry WHERE id = %s", (number,))
    if not rows:
        return flask.render_template("missing.html"), 404
    return cacheable(flask.render_template("entry.html", entry=rows[0]))


@application.get("/search")
def search():
    words = flask.request.args.get("q", "")[:100]
    rows = database.run(
        "SELECT id, given_name, family_name, message, created_at FROM entry"
        " WHERE id > (SELECT max(id) FROM entry) - 500 AND strpos(given_name || ' ' || family_name, %s) > 0"
        " ORDER BY id DESC LIMIT %s",
        (words, PAGE))
    return flask.render_template("entries.html", entries=rows, page=1)


@application.get("/write")
def write():
    return flask.render_template("write.html", request_id=uuid.uuid4())


def names(form):
    """The two names, also of a form that v1 rendered: a tab may be older than the release."""
    if "author" in form:
        given_name, _, family_name = " ".join(form["author"].split())[:200].strip().partition(" ")
        return given_name, family_name
    given_name = "-".join(form.get("given_name", "").split())[:100].strip()
    return given_name, " ".join(form.get("family_name", "").split())[:100].strip()


@application.post("/preview")
def preview():
    """A POST that only reads."""
    form = flask.request.form
    given_name, family_name = names(form)
    return flask.render_template(
        "preview.html", given_name=given_name, family_name=family_name, message=form.get("message", ""))


@application.post("/entries")
def add():
    """Answers 303 only after the entry has been committed; the same request id is never written twice."""
    form = flask.request.form
    given_name, family_name = names(form)
    message = form.get("message", "").strip()[:2000]
    try:
        request_id = str(uuid.UUID(form.get("request_id", "")))
    except ValueError:
        return "request_id: expected a UUID\n", 400
    if not given_name or not message:
        return "given_name and message: expected some text\n", 400
    rows = database.run(
        "INSERT INTO entry (request_id, given_name, family_name, message) VALUES (%s, %s, %s, %s)"
        " ON CONFLICT (request_id) DO NOTHING RETURNING id",
        (request_id, given_name, family_name, message))
    if not rows:
        rows = database.run("SELECT id FROM entry WHERE request_id = %s", (request_id,))
    return flask.redirect("/entries/%d" % rows[0][0], 303)


@application.get("/stream")
def stream():
    """Server-sent events, for a page that stays open: which release it hears."""
    def events():
        yield "retry: 500\n\n"
        while True:
            yield "data: %s\n\n" % RELEASE
            time.sleep(1)
    return flask.Response(events(), mimetype="text/event-stream")


@application.get("/livez")
def livez():
    """Says that the process is up; knows nothing of the database."""
    return {"release": RELEASE}


@application.get("/healthz")
def healthz():
    """Reads what the pages read: this release is healthy only on its own schema."""
    if (FAULTS / ("health-" + RELEASE)).exists():
        return {"release": RELEASE, "error": "a fault was asked for"}, 500
    rows = database.run(
        "SELECT id, given_name, family_name, message, created_at FROM entry"
        " ORDER BY created_at DESC, id DESC LIMIT 1")
    return {"release": RELEASE, "newest": rows[0][0] if rows else None}


@application.get("/mode.json")
def mode():
    """What the node's agent says of writes, for the banner. No file means that writes are open."""
    try:
        return flask.Response(pathlib.Path(MODE_FILE).read_bytes(), mimetype="application/json")
    except OSError:
        return {"readOnly": False}


@application.errorhandler(psycopg2.errors.ReadOnlySqlTransaction)
@application.errorhandler(psycopg2.errors.InsufficientPrivilege)
def read_only(error):
    """The second wall: the database refused the write."""
    page = flask.render_template("read-only.html")
    return page, 503, {"Retry-After": "5", "X-Refused-By": "database"}


@application.errorhandler(psycopg2.Error)
def database_failed(error):
    application.logger.error("database: %s", str(error).strip())
    return "The database did not answer as expected.\n", 500
