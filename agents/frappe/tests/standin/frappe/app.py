# SPDX-License-Identifier: Apache-2.0
"""The web server: what it answers in which mode."""

import html
import json
import pathlib
import urllib.parse

import psycopg2

import frappe

READING = ("/api/method/frappe.desk.reportview.get", "/api/method/frappe.client.get", "/api/method/frappe.desk.search.")
OK, REFUSED, FAILED = "200 OK", "503 Service Unavailable", "500 Internal Server Error"


class Request:
    def __init__(self, environ):
        self.site = environ.get("HTTP_X_FRAPPE_SITE_NAME", environ.get("HTTP_HOST", "").split(":")[0])
        self.path, self.method = environ["PATH_INFO"], environ["REQUEST_METHOD"]
        self.query = dict(urllib.parse.parse_qsl(environ.get("QUERY_STRING", "")))
        self.session = environ.get("HTTP_AUTHORIZATION")
        self.body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        self.is_write = self.method == "POST" and not self.path.startswith(READING)
        self.is_api = self.path.startswith("/api/")


def application(environ, start_response):
    request = Request(environ)
    try:
        status, value = answer(request)
    except (psycopg2.Error, ModuleNotFoundError) as error:
        status, value = FAILED, {"exc_type": type(error).__name__, "exception": str(error)}
    is_page = isinstance(value, str)
    body = value.encode() if is_page else json.dumps(value, separators=(",", ":")).encode()
    start_response(status, [("Content-Type", "text/html" if is_page else "application/json"), ("Content-Length", str(len(body)))])
    return [body]


def answer(request):
    try:
        config = frappe.config(request.site)
    except (OSError, ValueError):
        # Half a file as well.
        return "404 Not Found", {"exc_type": "DoesNotExist"}
    is_read_only = bool(config.get("maintenance_mode"))
    if is_read_only and not config.get("allow_reads_during_maintenance"):
        return (OK, "<h1>Updating</h1>") if frappe.major() == 14 and not request.is_api else (REFUSED, {"exc_type": "SessionStopped"})
    if request.path == "/api/method/ping":
        return OK, {"message": "pong"}
    with frappe.cache(request.site) as cache:
        frappe.check_modules(cache)
        # A running server keeps its own list there.
        if frappe.major() == 14:
            cache.ask("SADD", "modules", *frappe.MODULES)
        connection = frappe.connect(request.site)
        try:
            with connection, connection.cursor() as cursor:
                if request.is_write:
                    return write(request, cursor, is_read_only)
                value = read(request, cursor, cache, is_read_only)
                if request.session and not is_read_only:
                    see(request, cursor, cache)
            return OK, value
        finally:
            connection.close()


def write(request, cursor, is_read_only):
    if is_read_only:
        return REFUSED, {"exc_type": "InReadOnlyMode"}
    note = json.loads(request.body or b"{}")
    try:
        cursor.execute('INSERT INTO "tabNote" (name, title, content) VALUES (gen_random_uuid()::text, %s, %s) RETURNING name',
                       (note.get("title", "written"), note.get("content", "")))
        return OK, {"data": {"name": cursor.fetchone()[0]}}
    except psycopg2.errors.ReadOnlySqlTransaction:
        return REFUSED, {"exc_type": "InReadOnlyMode"}


def read(request, cursor, cache, is_read_only):
    if request.path == "/api/method/frappe.utils.change_log.get_versions":
        return {"message": {"frappe": {"title": "Frappe", "version": frappe.__version__}}}
    if request.path.startswith(READING) or request.path == "/api/resource/Note":
        cursor.execute('SELECT count(*) FROM "tabNote"')
        count = cursor.fetchone()[0]
        cursor.execute('SELECT name, title FROM "tabNote" ORDER BY creation DESC LIMIT 20')
        rows = [{"name": name, "title": title} for name, title in cursor.fetchall()]
        return {"message": count} if request.path.endswith("get_count") else {"data": rows, "message": rows}
    if request.path == "/api/method/frappe.desk.form.load.getdoc":
        if not is_read_only:
            cursor.execute('UPDATE "tabNote" SET _seen = true WHERE name = %s AND NOT _seen', (request.query.get("name"),))
        cursor.execute('SELECT name, title, content FROM "tabNote" WHERE name = %s', (request.query.get("name"),))
        return {"docs": [dict(zip(("name", "title", "content"), row)) for row in cursor.fetchall()]}
    if request.path.startswith("/app"):
        if not is_read_only:
            cursor.execute('UPDATE "tabUser" SET last_known_versions = %s WHERE last_known_versions IS DISTINCT FROM %s', (frappe.__version__,) * 2)
        return page("Desk")
    # A page of the website: who has seen it is written later.
    cache.ask("RPUSH", "deferred-%s" % request.site, request.query.get("view", request.path))
    return page("Welcome")


def page(title):
    names = json.loads(pathlib.Path("assets", "assets.json").read_text()) if pathlib.Path("assets", "assets.json").exists() else {}
    links = "".join('<link rel="stylesheet" href="%s">' % html.escape(path) for name, path in sorted(names.items()) if name.endswith(".css"))
    scripts = "".join('<script src="%s"></script>' % html.escape(path) for name, path in sorted(names.items()) if name.endswith(".js"))
    return '<!doctype html><html lang="en"><head><title>%s</title><meta name="release" content="%s">%s</head><body><h1>%s</h1>%s</body></html>' % (
        title, frappe.__version__, links, title, scripts)


def see(request, cursor, cache):
    """Once in ten minutes, and with an empty cache; nobody catches what comes of it, so that it comes again with every request."""
    key = "session-" + request.session
    if cache.ask("GET", key) is None:
        # In the order in which pages write, so that two of them do not wait for one another.
        cursor.execute('UPDATE "tabUser" SET last_active = now()')
        cursor.execute('UPDATE "tabSessions" SET lastupdate = now()')
        cache.ask("SET", key, "1", "EX", "600")
