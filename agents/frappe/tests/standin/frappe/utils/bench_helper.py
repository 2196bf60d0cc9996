# SPDX-License-Identifier: Apache-2.0
"""frappe --site SITE migrate | list-apps | execute METHOD …"""

import fcntl
import json
import os
import socket
import sys
import time
import urllib.parse

import frappe


def migrate(site):
    """Not one transaction: each patch is committed with its line in the log, and the version comes last."""
    with open(os.path.join(site, "bench_migrate.lock"), "w", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.exit("frappe.utils.file_lock.LockTimeoutError")
        connection = frappe.connect(site)
        with connection, connection.cursor() as cursor:
            cursor.execute('SELECT patch FROM "tabPatch Log"')
            done = {patch for patch, in cursor.fetchall()}
        for patch in frappe.patches():
            if patch in done:
                continue
            print("Executing %s" % patch, flush=True)
            with connection, connection.cursor() as cursor:
                if patch.endswith("broken"):
                    cursor.execute("ALTER TABLE nothing ADD COLUMN x int")
                cursor.execute('CREATE TABLE IF NOT EXISTS "tab%s" (name text)' % patch)
                cursor.execute('INSERT INTO "tabPatch Log" VALUES (%s)', (patch,))
            time.sleep(float(os.environ.get("STANDIN_PACE", "0")))
        with connection, connection.cursor() as cursor:
            cursor.execute('UPDATE "tabInstalled Application" SET app_version = %s', (frappe.__version__,))
        print("Queued rebuilding of search index")


def list_apps(site):
    with frappe.connect(site) as connection, connection.cursor() as cursor:
        cursor.execute('SELECT app_name, app_version FROM "tabInstalled Application"')
        for name, version in cursor.fetchall():
            print("%-10s %s UNVERSIONED" % (name, version))


def execute(site, method, *_):
    if method == "frappe.modules.patch_handler.get_all_patches":
        print(json.dumps(frappe.patches()))
    elif method == "frappe.get_all":
        with frappe.connect(site) as connection, connection.cursor() as cursor:
            cursor.execute('SELECT patch FROM "tabPatch Log"')
            print(json.dumps([patch for patch, in cursor.fetchall()]))
    elif method == "frappe.deferred_insert.save_to_db":
        url = urllib.parse.urlsplit(os.environ["FRAPPE_REDIS_CACHE"])
        with socket.socket(socket.AF_UNIX) as redis, frappe.connect(site) as connection, connection.cursor() as cursor:
            redis.connect(url.path)
            redis.sendall(b"SELECT %s\r\nLPOP deferred-%s\r\n" % (url.query.split("=")[1].encode(), site.encode()))
            time.sleep(0.2)
            words = redis.recv(65536).decode().split("\r\n")
            if words[1] != "$-1":
                cursor.execute('INSERT INTO "tabView Log" VALUES (%s)', (words[2],))
    else:
        sys.exit("no such method: " + method)


def main():
    _, _, _, site, command, *words = sys.argv
    {"migrate": migrate, "list-apps": list_apps, "execute": execute}[command](site, *words)


main()
