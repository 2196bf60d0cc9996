# SPDX-License-Identifier: Apache-2.0
"""frappe [--site SITE] new-site | migrate | list-apps | execute METHOD … | worker | schedule"""

import argparse
import fcntl
import json
import os
import pathlib
import signal
import sys
import threading
import time
import uuid

import psycopg2

import frappe

SCHEMA = """
CREATE TABLE "tabPatch Log" (name text, patch text, creation timestamptz);
CREATE TABLE "tabInstalled Application" (app_name text, app_version text);
CREATE TABLE "tabSessions" (sid text, "user" text, lastupdate timestamptz);
CREATE TABLE "tabUser" (name text, api_key text, last_active timestamptz, last_known_versions text);
CREATE TABLE "tabView Log" (name bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, path text);
CREATE TABLE "tabNote" (name text PRIMARY KEY, title text, content text, _seen boolean NOT NULL DEFAULT false, creation timestamptz NOT NULL DEFAULT now());
CREATE TABLE "tabJob" (key text, done_by text, done_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE "tabDocField" (name text);
CREATE TABLE "tabEvent Producer" (name text);
INSERT INTO "tabSessions" VALUES ('s', 'Administrator', now());
INSERT INTO "tabUser" (name) VALUES ('Administrator');
"""


def new_site(words):
    parser = argparse.ArgumentParser(prog="new-site")
    parser.add_argument("site")
    for name in ("type", "name", "password", "host", "port", "root-username", "root-password"):
        parser.add_argument("--db-" + name, required=True)
    parser.add_argument("--admin-password", required=True)
    given = parser.parse_args(words)
    root = psycopg2.connect(host=given.db_host, port=given.db_port, user=given.db_root_username, password=given.db_root_password, dbname="postgres")
    root.autocommit = True
    with root.cursor() as cursor:
        cursor.execute('CREATE ROLE "%s" LOGIN PASSWORD %%s' % given.db_name, (given.db_password,))
        cursor.execute('CREATE DATABASE "%s"' % given.db_name)
        # Not the schema: that of 15 has to be granted by somebody else.
        cursor.execute('GRANT ALL ON DATABASE "%s" TO "%s"' % (given.db_name, given.db_name))
    root.close()
    directory = pathlib.Path(given.site)
    (directory / "public" / "files").mkdir(parents=True)
    (directory / "site_config.json").write_text(json.dumps(
        {"db_type": given.db_type, "db_host": given.db_host, "db_port": int(given.db_port), "db_name": given.db_name,
         "db_password": given.db_password}, indent=1))
    with frappe.connect(given.site) as connection, connection.cursor() as cursor:
        cursor.execute(SCHEMA)
        for patch in frappe.patches():
            cursor.execute('INSERT INTO "tabPatch Log" VALUES (%s, %s, now())', (str(uuid.uuid4()), patch))
        cursor.execute("INSERT INTO \"tabInstalled Application\" VALUES ('frappe', %s)", (frappe.__version__,))


def migrate(site, *_):
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
        left = [patch for patch in frappe.patches() if patch not in done]
        forget_cache(site)
        if left:
            # Before the first patch already, and whatever becomes of it.
            with connection, connection.cursor() as cursor:
                cursor.execute('ALTER TABLE "tabDocField" ADD COLUMN IF NOT EXISTS sort_options text')
        for number, patch in enumerate(left):
            wait_to_be_killed(site, number)
            print("Executing %s" % patch, flush=True)
            with connection, connection.cursor() as cursor:
                apply(cursor, patch)
                cursor.execute('INSERT INTO "tabPatch Log" VALUES (%s, %s, clock_timestamp())', (str(uuid.uuid4()), patch))
            time.sleep(pace(site))
        with connection, connection.cursor() as cursor:
            cursor.execute('UPDATE "tabInstalled Application" SET app_version = %s', (frappe.__version__,))
        save_to_db(site)
        with frappe.cache(site) as cache:
            cache.ask("SADD", "modules", *frappe.MODULES)
        print("Queued rebuilding of search index")


def pace(site):
    return float(os.environ.get("STANDIN_PACE") or frappe.config(site).get("standin_pace", 0))


def forget_cache(site):
    """It begins by emptying its cache. A server of another release that runs on it fills it again at once."""
    with frappe.cache(site) as cache:
        waiting = cache.ask("LRANGE", "deferred-%s" % site, 0, -1)
        cache.ask("FLUSHDB")
        if waiting:
            cache.ask("RPUSH", "deferred-%s" % site, *waiting)
        time.sleep(pace(site))
        frappe.check_modules(cache)


def wait_to_be_killed(site, number):
    """Once, before the third patch, where the configuration names a file: it says who waits."""
    mark = frappe.config(site).get("standin_mark")
    if mark and number == 2 and not os.path.exists(mark):
        pathlib.Path(mark + ".new").write_text(str(os.getpid()))
        os.rename(mark + ".new", mark)
        time.sleep(60)


def apply(cursor, patch):
    text = pathlib.Path(__file__).parents[1] / "patches" / (patch.split(".")[-1] + ".sql")
    if patch.endswith("broken"):
        cursor.execute("ALTER TABLE nothing ADD COLUMN x int")
    elif text.exists():
        cursor.execute(text.read_text())
    else:
        cursor.execute('CREATE TABLE IF NOT EXISTS "tab%s" (name text)' % patch)


def list_apps(site, *_):
    with frappe.connect(site) as connection, connection.cursor() as cursor:
        cursor.execute('SELECT app_name, app_version FROM "tabInstalled Application"')
        for name, version in cursor.fetchall():
            print("%-10s %s UNVERSIONED" % (name, version))


def save_to_db(site):
    """What was seen is written. Several may do it at once; what cannot be written goes back."""
    with frappe.cache(site) as cache, frappe.connect(site) as connection, connection.cursor() as cursor:
        key, taken = "deferred-%s" % site, []
        while (path := cache.ask("LPOP", key)) is not None:
            taken.append(path)
        try:
            for path in taken:
                cursor.execute('INSERT INTO "tabView Log" (path) VALUES (%s)', (path,))
            connection.commit()
        except psycopg2.Error:
            cache.ask("RPUSH", key, *taken)
            raise


def execute(site, method, *_):
    if method == "frappe.modules.patch_handler.get_all_patches":
        print(json.dumps(frappe.patches()))
    elif method == "frappe.get_all":
        with frappe.connect(site) as connection, connection.cursor() as cursor:
            cursor.execute('SELECT patch FROM "tabPatch Log"')
            print(json.dumps([patch for patch, in cursor.fetchall()]))
    elif method == "frappe.deferred_insert.save_to_db":
        save_to_db(site)
    elif method == "frappe.core.doctype.user.user.generate_keys":
        with frappe.connect(site) as connection, connection.cursor() as cursor:
            cursor.execute("UPDATE \"tabUser\" SET api_key = 'key'")
        print(json.dumps({"api_secret": "secret"}))
    elif method == "frappe.db.get_value":
        with frappe.connect(site) as connection, connection.cursor() as cursor:
            cursor.execute('SELECT api_key FROM "tabUser"')
            print(json.dumps(cursor.fetchone()[0]))
    else:
        sys.exit("no such method: " + method)


def every_site():
    return sorted(path.parent.name for path in pathlib.Path(".").glob("*/site_config.json"))


def until_told_to_end():
    is_over = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: is_over.set())
    return is_over


def worker(*_):
    """Takes jobs whatever the switches say, and ends after the one that it is at."""
    is_over = until_told_to_end()
    while not is_over.is_set():
        with frappe.queue(every_site()[0]) as queue:
            job = queue.ask("LPOP", "rq:queue:default")
            if job is None:
                is_over.wait(0.1)
                continue
            queue.ask("ZADD", "rq:wip:default", "1", job)
            site, key = json.loads(job)
            try:
                time.sleep(0.1)
                with frappe.connect(site) as connection, connection.cursor() as cursor:
                    cursor.execute('INSERT INTO "tabJob" (key, done_by) VALUES (%s, %s)', (key, frappe.__version__))
                    connection.commit()
            except psycopg2.Error:
                queue.ask("RPUSH", "rq:failed", job)
            queue.ask("ZREM", "rq:wip:default", job)


def schedule(*_):
    """New jobs, and what waits in the cache is written: not while the switches say so."""
    is_over = until_told_to_end()
    while not is_over.wait(0.3):
        for site in every_site():
            config = frappe.config(site)
            if config.get("maintenance_mode") or config.get("pause_scheduler"):
                continue
            with frappe.queue(site) as queue:
                queue.ask("SADD", "rq:queues", "rq:queue:default")
                queue.ask("RPUSH", "rq:queue:default", json.dumps([site, str(uuid.uuid4())]))
            save_to_db(site)


def main():
    words = sys.argv[2:]
    site = None
    if words[0] == "--site":
        site, words = words[1], words[2:]
    command, *words = words
    if command == "new-site":
        return new_site(words)
    return {"migrate": migrate, "list-apps": list_apps, "execute": execute, "worker": worker, "schedule": schedule}[command](site, *words)


main()
