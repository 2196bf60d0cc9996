# SPDX-License-Identifier: Apache-2.0
"""The web server: what it answers in which mode."""

import json

import psycopg2

import frappe


def application(environ, start_response):
    def answer(status, value, **headers):
        body = json.dumps(value, separators=(",", ":")).encode()
        start_response(status, [("Content-Type", "application/json"), ("Content-Length", str(len(body))), *headers.items()])
        return [body]

    site = environ.get("HTTP_X_FRAPPE_SITE_NAME", environ.get("HTTP_HOST", "").split(":")[0])
    try:
        config = frappe.config(site)
    except (OSError, ValueError):
        # Half a file as well.
        return answer("404 Not Found", {"exc_type": "DoesNotExist"})
    is_read_only = bool(config.get("maintenance_mode"))
    if is_read_only and not config.get("allow_reads_during_maintenance"):
        return answer("503 Service Unavailable", {"exc_type": "SessionStopped"})
    path, is_write = environ["PATH_INFO"], environ["REQUEST_METHOD"] == "POST"
    if path == "/api/method/ping":
        return answer("200 OK", {"message": "pong"})
    connection = frappe.connect(site)
    try:
        with connection, connection.cursor() as cursor:
            if is_write:
                if is_read_only:
                    return answer("503 Service Unavailable", {"exc_type": "InReadOnlyMode"})
                try:
                    cursor.execute("INSERT INTO \"tabView Log\" VALUES ('written')")
                except psycopg2.errors.ReadOnlySqlTransaction:
                    return answer("503 Service Unavailable", {"exc_type": "InReadOnlyMode"})
                return answer("200 OK", {"message": "written"})
            cursor.execute('SELECT app_name, app_version FROM "tabInstalled Application"')
            versions = dict(cursor.fetchall())
            if environ.get("HTTP_AUTHORIZATION") and not is_read_only:
                # After the answer was made, every ten minutes or with an empty cache; nobody catches what comes of it.
                cursor.execute("UPDATE \"tabSessions\" SET lastupdate = now()")
        if path == "/api/method/frappe.utils.change_log.get_versions":
            return answer("200 OK", {"message": {"frappe": {"title": "Frappe", "version": frappe.__version__}}})
        return answer("200 OK", {"message": versions})
    except psycopg2.Error as error:
        return answer("500 Internal Server Error", {"exc_type": type(error).__name__})
    finally:
        connection.close()
