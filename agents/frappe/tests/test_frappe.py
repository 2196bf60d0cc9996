# SPDX-License-Identifier: Apache-2.0
"""sluice-frappe and its start script against a stand-in of Frappe, a real PostgreSQL with a fence, and a real Redis."""

import fcntl
import http.client
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import unittest

import psycopg2

HERE = pathlib.Path(__file__).resolve().parent
PROGRAM = HERE.parent / "sluice-frappe"
SITES = {"one.example": "adapters_frappe_one", "two.example": "adapters_frappe_two"}
PATIENCE = 60

FENCE = """
CREATE TABLE fence (up boolean NOT NULL); INSERT INTO fence VALUES (false);
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF (SELECT up FROM fence) AND current_setting('sluice.pass', true) IS DISTINCT FROM 'secret' THEN
        RAISE EXCEPTION 'this database is read-only while an upgrade runs' USING ERRCODE = '25006'; END IF; RETURN NULL; END $$;
DO $$ DECLARE name text; BEGIN FOR name IN SELECT tablename FROM pg_tables WHERE tablename LIKE 'tab%' LOOP
    EXECUTE format('CREATE TRIGGER fence BEFORE INSERT OR UPDATE OR DELETE ON %I FOR EACH STATEMENT EXECUTE FUNCTION refuse()', name);
END LOOP; END $$;
"""


def schema():
    """What a site of 14.51.0 has, with the stand-in's own words."""
    text = (HERE / "standin" / "frappe" / "utils" / "bench_helper.py").read_text()
    return text.split('SCHEMA = """')[1].split('"""')[0] + (
        "INSERT INTO \"tabPatch Log\" VALUES ('1', 'p1', now()); INSERT INTO \"tabInstalled Application\" VALUES ('frappe', '14.51.0');") + FENCE


def sql(database, statement):
    connection = psycopg2.connect(dbname=database)
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []
    finally:
        connection.close()


class Fence:
    def __enter__(self):
        for database in SITES.values():
            sql(database, "UPDATE fence SET up = true")

    def __exit__(self, *_):
        for database in SITES.values():
            sql(database, "UPDATE fence SET up = false")


def wait_until(what):
    deadline = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < deadline, "not so after %d s" % PATIENCE
        time.sleep(0.02)


def setUpModule():
    for database in SITES.values():
        sql("postgres", "DROP DATABASE IF EXISTS %s WITH (FORCE)" % database)
        sql("postgres", "CREATE DATABASE %s" % database)


class FrappeTests(unittest.TestCase):
    def setUp(self):
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="sluice-frappe."))
        self.sites = self.root / "shared" / "sites"
        for site, database in SITES.items():
            sql(database, "SET client_min_messages = warning; DROP SCHEMA public CASCADE; CREATE SCHEMA public;" + schema())
            (self.sites / site).mkdir(parents=True)
            self.configure(site, {"db_name": database, "db_password": "ö", "limits": {"space": 1}})
        self.redis_socket = self.root / "redis.sock"
        self.url, self.state = "unix://%s" % self.redis_socket, self.root / "caches.json"
        (self.sites / "common_site_config.json").write_text(json.dumps({"redis_queue": self.url, "redis_cache": self.url}))
        self.cached = ["--redis", self.url, "--state", self.state]
        self.started = []
        self.environment = dict(os.environ)
        self.redis()

    def tearDown(self):
        for process in self.started:
            process.kill()
            process.wait()
        for pid in self.root.glob("*.pid"):
            os.kill(int(pid.read_text()), signal.SIGKILL)
        shutil.rmtree(self.root)

    def configure(self, site, value):
        path = self.sites / site / "site_config.json"
        path.write_text(json.dumps(value, ensure_ascii=False))
        path.chmod(0o640)

    def config(self, site):
        return json.loads((self.sites / site / "site_config.json").read_text())

    def release(self, name, patches, pace="0"):
        """A release as it lies on a node: its own apps, the sites that all share."""
        directory = self.root / name
        shutil.copytree(HERE / "standin" / "frappe", directory / "apps" / "frappe" / "frappe", ignore=shutil.ignore_patterns("__pycache__"))
        module = directory / "apps" / "frappe" / "frappe" / "__init__.py"
        module.write_text(module.read_text().replace("VERSION", name))
        (module.parent / "patches.txt").write_text("\n".join(patches) + "\n")
        (directory / "sites").mkdir()
        (directory / "sites" / "common_site_config.json").symlink_to(self.sites / "common_site_config.json")
        for site in SITES:
            (directory / "sites" / site).symlink_to(self.sites / site)
        self.environment.update(
            SLUICE_RELEASE=name, SLUICE_RELEASE_DIR=str(directory), STANDIN_PACE=pace, SLUICE_SOCKET=str(self.root / (name + ".sock")))
        return directory

    def run_it(self, *words, expect=0):
        ended = subprocess.run([str(PROGRAM), *map(str, words)], env=self.environment, capture_output=True, text=True)
        self.assertEqual(ended.returncode, expect, ended.stdout + ended.stderr)
        return ended.stdout + ended.stderr

    def redis(self):
        self.started.append(subprocess.Popen(
            ["redis-server", "--port", "0", "--unixsocket", str(self.redis_socket), "--save", "", "--dir", str(self.root)], stdout=subprocess.DEVNULL))
        wait_until(self.redis_socket.exists)

    def ask_redis(self, *words):
        return subprocess.run(["redis-cli", "-s", str(self.redis_socket), *words], check=True, capture_output=True, text=True).stdout.strip()

    def serve(self):
        subprocess.run([str(HERE.parent / "start"), "start", self.url, str(self.state)],
                       env=self.environment, check=True)
        address = self.environment["SLUICE_SOCKET"]
        wait_until(lambda: os.path.exists(address))
        return address

    def ask(self, address, path="/", method="GET", site="one.example", **headers):
        connection = http.client.HTTPConnection("localhost")
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(address)
        connection.request(method, path, headers={"X-Frappe-Site-Name": site, "Authorization": "token x:y", **headers})
        answer = connection.getresponse()
        body = answer.read().decode()
        connection.close()
        return answer.status, body

    # The switches

    def test_every_site_says_read_only_and_then_what_it_said_before_with_all_else_as_it_was(self):
        self.configure("two.example", {"db_name": "x", "maintenance_mode": 0, "allow_reads_during_maintenance": 1})
        before = {site: self.config(site) for site in SITES}
        for _ in range(2):
            self.run_it("read-only", "--sites", self.sites)
            for site in SITES:
                self.assertEqual(self.config(site), {**before[site], "maintenance_mode": 1, "allow_reads_during_maintenance": 1})
        # Somebody changes something else meanwhile.
        self.configure("one.example", {**self.config("one.example"), "developer_mode": 1})
        for _ in range(2):
            self.run_it("normal", "--sites", self.sites)
            self.assertEqual(self.config("one.example"), {**before["one.example"], "developer_mode": 1})
            self.assertEqual(self.config("two.example"), before["two.example"])
        self.assertEqual((self.sites / "one.example" / "site_config.json").stat().st_mode & 0o777, 0o640)

    def test_a_site_that_is_closed_stays_so_until_it_is_opened_whatever_the_others_say(self):
        self.configure("two.example", {"db_name": "x", "allow_reads_during_maintenance": 1})
        before = {site: self.config(site) for site in SITES}
        closed = {"db_name": "x", "maintenance_mode": 1}
        two = ["--sites", self.sites, "--site", "two.example"]
        # Its upgrade fails while all are read-only; the next one begins and ends with it closed, and opens it.
        for words in (["read-only", "--sites", self.sites], ["close", *two], ["close", *two], ["normal", "--sites", self.sites],
                      ["read-only", "--sites", self.sites], ["normal", "--sites", self.sites]):
            self.run_it(*words)
            if words[0] != "read-only":
                self.assertEqual(self.config("two.example"), closed, words)
        self.assertEqual(self.config("one.example"), before["one.example"])
        for _ in range(2):
            self.run_it("open", *two)
            self.assertEqual(self.config("two.example"), before["two.example"])
        # A run that turns back opens it while all are read-only still.
        for words in (["read-only", "--sites", self.sites], ["close", *two], ["open", *two]):
            self.run_it(*words)
        self.assertEqual(self.config("two.example"), {"db_name": "x", "maintenance_mode": 1, "allow_reads_during_maintenance": 1})
        self.run_it("normal", "--sites", self.sites)
        self.assertEqual(self.config("two.example"), before["two.example"])

    def test_a_site_that_is_closed_is_not_asked_and_its_cache_is_kept(self):
        self.release("15.8.1", ["p1"])
        tokens = self.root / "tokens"
        tokens.write_text("one.example x:y\n")
        tokens.chmod(0o600)
        self.run_it("close", "--sites", self.sites, "--site", "two.example")
        self.serve()
        said = self.run_it("answers", "--sites", self.sites, "--tokens", tokens)
        self.assertIn("two.example: closed, and not asked", said)
        self.assertEqual(self.ask(self.environment["SLUICE_SOCKET"], site="two.example")[0], 503)
        subprocess.run([str(HERE.parent / "start"), "stop"], env=self.environment, check=True)
        self.state.write_text(json.dumps({"15.8.0": 2, "15.8.1": 1}))
        self.assertIn("is kept: two.example is closed", self.run_it("flush-deferred", "--sites", self.sites, *self.cached))
        self.run_it("open", "--sites", self.sites, "--site", "two.example")
        self.run_it("flush-deferred", "--sites", self.sites, *self.cached)
        self.assertEqual(json.loads(self.state.read_text()), {"15.8.1": 1})

    def test_killed_at_any_point_it_comes_to_the_same_when_it_is_run_again(self):
        before = self.config("one.example")
        for command in ("read-only", "normal"):
            for after in (0.02, 0.05, 0.08, 0.12):
                process = subprocess.Popen([str(PROGRAM), command, "--sites", str(self.sites)], stdout=subprocess.DEVNULL)
                time.sleep(after)
                process.kill()
                process.wait()
                self.assertEqual(self.config("one.example")["db_name"], SITES["one.example"])
            self.run_it(command, "--sites", self.sites)
            self.assertEqual(self.config("one.example").get("maintenance_mode"), 1 if command == "read-only" else None)
        self.assertEqual(self.config("one.example"), before)

    def test_who_reads_the_configuration_all_the_time_never_reads_half_of_it(self):
        path, wrong, is_over = self.sites / "one.example" / "site_config.json", [], threading.Event()

        def look():
            while not is_over.is_set():
                try:
                    json.loads(path.read_text())
                except (OSError, ValueError) as error:
                    wrong.append(error)
        reader = threading.Thread(target=look)
        reader.start()
        for _ in range(3):
            self.run_it("read-only", "--sites", self.sites)
            self.run_it("normal", "--sites", self.sites)
        is_over.set()
        reader.join()
        self.assertEqual(wrong, [])

    def test_a_damaged_configuration_is_named_and_left_alone(self):
        path = self.sites / "two.example" / "site_config.json"
        path.write_text("{")
        self.assertIn(str(path), self.run_it("read-only", "--sites", self.sites, "--site", "two.example", expect=1))
        self.assertEqual(path.read_text(), "{")
        self.assertIn("no */site_config.json", self.run_it("read-only", "--sites", self.root / "shared", expect=1))
        self.assertIn("nobody.example", self.run_it("normal", "--sites", self.sites, "--site", "nobody.example", expect=1))

    # The window

    def test_with_the_switch_readers_of_both_releases_are_served_behind_the_fence_and_without_it_none(self):
        self.release("14.51.0", ["p1"])
        old = self.serve()
        self.release("15.8.1", ["p1", "p2"])
        new = self.serve()
        with Fence():
            self.assertEqual([self.ask(one)[0] for one in (old, new)], [500, 500])
            self.run_it("read-only", "--sites", self.sites)
            for one in (old, new):
                for site in SITES:
                    self.assertEqual((self.ask(one, site=site)[0], self.ask(one, method="POST", site=site)[0]), (200, 503))
                    # These only read.
                    for path in ("desk.reportview.get", "client.get_count", "desk.search.search_link"):
                        self.assertEqual(self.ask(one, "/api/method/frappe." + path, "POST", site)[0], 200)
            # While it is migrated, with a pass of its own.
            self.environment["PGOPTIONS"] = "-c sluice.pass=secret"
            self.run_it("migrate", *self.cached, "--sites", self.sites)
            self.assertEqual([self.ask(one)[0] for one in (old, new)], [200, 200])
            version = self.ask(new, "/api/method/frappe.utils.change_log.get_versions")
            self.assertIn('"version":"15.8.1"', version[1])
        self.run_it("normal", "--sites", self.sites)
        self.assertEqual(self.ask(new, method="POST")[0], 200)
        subprocess.run([str(HERE.parent / "start"), "stop"], env=self.environment, check=True)
        self.assertFalse(os.path.exists(new))

    # The pages

    def test_every_site_has_to_answer_as_the_release_somebody_who_is_logged_in(self):
        self.release("15.8.1", ["p1"])
        tokens = self.root / "tokens"
        tokens.write_text("one.example x:y\ntwo.example x:y\n")
        tokens.chmod(0o600)
        words = ["answers", "--sites", self.sites, "--tokens", tokens]
        self.assertIn("one.example does not answer", self.run_it(*words, expect=1))
        self.serve()
        self.assertIn("two.example: answers as 15.8.1", self.run_it(*words))
        # The database of one of them fails: each page does, and ping says pong.
        self.configure("two.example", {"db_name": "adapters_frappe_nowhere", "db_password": "ö"})
        self.assertIn("two.example answers 500", self.run_it(*words, expect=1))
        self.environment["SLUICE_RELEASE"] = "15.9.0"
        self.assertIn("other versions than 15.9.0", self.run_it(*words, "--site", "one.example", expect=1))
        tokens.write_text("one.example x:y\n")
        self.assertIn("has no line `two.example KEY:SECRET`", self.run_it(*words, "--site", "two.example", expect=1))
        tokens.chmod(0o640)
        self.assertIn("chmod 600", self.run_it(*words, expect=1))
        self.environment["SLUICE_RELEASE"] = "15.8.1"
        subprocess.run([str(HERE.parent / "start"), "stop"], env=self.environment, check=True)

    # The migration

    def test_a_migration_that_is_killed_goes_on_when_it_is_run_again_and_only_then_is_it_done(self):
        self.release("15.8.1", ["p%d" % number for number in range(1, 7)], pace="0.5")
        self.assertIn("frappe is 14.51.0 and not 15.8.1; 5 patches are left", self.run_it("migrated", *self.cached, "--sites", self.sites, expect=1))
        process = subprocess.Popen([str(PROGRAM), "migrate", "--sites", str(self.sites), *map(str, self.cached)], env=self.environment, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL, start_new_session=True)
        wait_until(lambda: len(sql(SITES["one.example"], 'SELECT * FROM "tabPatch Log"')) >= 3)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        self.run_it("migrated", *self.cached, "--sites", self.sites, expect=1)
        self.environment["STANDIN_PACE"] = "0"
        self.run_it("migrate", *self.cached, "--sites", self.sites)
        for database in SITES.values():
            self.assertEqual(sql(database, 'SELECT patch, count(*) FROM "tabPatch Log" GROUP BY patch ORDER BY patch'), [("p%d" % n, 1) for n in range(1, 7)])
        self.assertIn("two.example: migrated", self.run_it("migrated", *self.cached, "--sites", self.sites))

    def test_the_site_that_is_named_is_migrated_and_the_other_stays_as_it_is(self):
        self.release("15.8.1", ["p1", "p2"])
        one, two = SITES
        self.run_it("migrate", *self.cached, "--site", one, "--sites", self.sites)
        self.run_it("migrated", *self.cached, "--site", one, "--sites", self.sites)
        self.assertEqual(sql(SITES[two], 'SELECT patch FROM "tabPatch Log"'), [("p1",)])
        self.run_it("migrated", *self.cached, "--site", two, "--sites", self.sites, expect=1)

    def test_a_patch_that_fails_fails_the_migration_and_says_that_what_is_done_stays(self):
        self.release("15.8.1", ["p1", "p2", "p3-broken"])
        self.assertIn("it goes on from there", self.run_it("migrate", *self.cached, "--sites", self.sites, "--site", "one.example", expect=1))
        self.assertIn("1 patches are left, the first is p3-broken", self.run_it("migrated", *self.cached, "--sites", self.sites, "--site", "one.example", expect=1))

    def test_a_migration_that_meets_another_one_of_its_site_fails_and_leaves_it_alone(self):
        self.release("15.8.1", ["p1", "p2"])
        with open(self.sites / "one.example" / "bench_migrate.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self.assertIn("LockTimeoutError", self.run_it("migrate", *self.cached, "--sites", self.sites, expect=1))
        self.run_it("migrate", *self.cached, "--sites", self.sites)

    def test_without_a_database_nobody_says_migrated_or_not(self):
        self.release("15.8.1", ["p1"])
        self.environment["PGHOST"] = str(self.root)
        self.assertIn("cannot be listed", self.run_it("migrated", *self.cached, "--sites", self.sites, expect=2))

    def test_an_old_server_on_the_same_cache_breaks_a_migration_and_one_of_its_own_does_not(self):
        self.release("14.51.0", ["p1"])
        old, is_over = self.serve(), threading.Event()
        self.release("15.8.1", ["p1", "p2"], pace="0.3")
        reader = threading.Thread(target=lambda: [self.ask(old) for _ in iter(is_over.is_set, True)])
        reader.start()
        try:
            # As one that takes what common_site_config.json says.
            self.state.write_text(json.dumps({"15.8.1": 0}))
            self.assertIn("No module named 'frappe.event_streaming'", self.run_it("migrate", *self.cached, "--sites", self.sites, expect=1))
            self.state.unlink()
            self.run_it("migrate", *self.cached, "--sites", self.sites)
            self.assertEqual(self.ask(old)[0], 200)
        finally:
            is_over.set()
            reader.join()

    def test_a_release_that_can_logs_in_as_a_role_of_its_own_to_migrate(self):
        sql("postgres", "DO $$ BEGIN CREATE ROLE adapters_frappe_migrator LOGIN SUPERUSER; EXCEPTION WHEN duplicate_object THEN NULL; END $$")
        self.release("16.0.0", ["p1", "p2"])
        login = self.root / "login"
        login.write_text("FRAPPE_DB_USER=adapters_frappe_migrator\n")
        login.chmod(0o644)
        words = ["migrate", *self.cached, "--sites", self.sites, "--login", login]
        self.assertIn("chmod 600", self.run_it(*words, expect=1))
        login.chmod(0o600)
        self.run_it(*words)
        self.assertEqual(sql(SITES["one.example"], "SELECT tableowner FROM pg_tables WHERE tablename = 'tabp2'"), [("adapters_frappe_migrator",)])
        login.write_text("PATH=/tmp\n")
        self.assertIn("no FRAPPE_DB_", self.run_it(*words, expect=1))

    def test_what_runs_beside_the_servers_is_of_the_release_that_is_current_with_its_cache(self):
        directory = self.release("15.8.1", ["p1"])
        (self.root / "app" / "releases" / "15.8.1.abc").mkdir(parents=True)
        directory.rename(self.root / "app" / "releases" / "15.8.1.abc" / "files")
        (self.root / "app" / "current").mkdir()
        (self.root / "app" / "current" / "files").symlink_to("../releases/15.8.1.abc/files")
        (self.root / "app" / "current" / "release").write_text("sluice-activation 1\ngeneration 2\nrelease 15.8.1\nmanifest abc\n")
        self.ask_redis("-n", "1", "RPUSH", "deferred-one.example", "seen")
        self.state.write_text(json.dumps({"15.8.1": 1}))
        for name in ("SLUICE_RELEASE", "SLUICE_RELEASE_DIR", "SLUICE_SOCKET"):
            del self.environment[name]
        subprocess.run([str(HERE.parent / "start"), "current", str(self.root / "app"), self.url, str(self.state), "--site", "one.example",
                        "execute", "frappe.deferred_insert.save_to_db"], env=self.environment, check=True)
        self.assertEqual(sql(SITES["one.example"], 'SELECT path FROM "tabView Log"'), [("seen",)])

    # Workers

    def test_workers_are_stopped_and_a_job_that_has_not_ended_is_named(self):
        programs = self.root / "bin"
        programs.mkdir()
        (programs / "systemctl").write_text("#!/bin/sh\necho \"$@\" >>%s\n[ ! -e %s ]\n" % (self.root / "units", self.root / "broken"))
        (programs / "systemctl").chmod(0o755)
        self.environment["PATH"] = "%s:%s" % (programs, self.environment["PATH"])
        units = ["--unit", "frappe-worker.service", "--unit", "frappe-schedule.service"]
        self.ask_redis("SADD", "rq:queues", "rq:queue:short", "rq:queue:long")
        self.ask_redis("RPUSH", "rq:queue:short", "a", "b")
        self.assertIn("short: 2 waiting", self.run_it("pause", "--sites", self.sites, *units))
        self.ask_redis("ZADD", "rq:wip:long", "1", "c")
        self.assertIn("a job of rq:queue:long was begun and has not ended",
                      self.run_it("pause", "--sites", self.sites, "--wait", "0", *units, expect=1))
        # Another node's worker is at it, and being stopped.
        pausing = subprocess.Popen([str(PROGRAM), "pause", "--sites", str(self.sites), *units], env=self.environment, stdout=subprocess.PIPE)
        wait_until(lambda: (self.root / "units").read_text().count("stop") == 3)
        self.assertIsNone(pausing.poll())
        self.ask_redis("ZREM", "rq:wip:long", "c")
        self.assertIn(b"workers are stopped", pausing.communicate(timeout=PATIENCE)[0])
        self.assertEqual(pausing.returncode, 0)
        self.run_it("resume", *units)
        self.assertEqual((self.root / "units").read_text().splitlines()[-1], "start frappe-worker.service frappe-schedule.service")
        (self.root / "broken").touch()
        self.run_it("pause", "--sites", self.sites, *units, expect=1)

    # The configuration

    def test_the_shipped_configuration_says_what_the_program_understands(self):
        text = (HERE.parent / "agent.yaml").read_text()
        lines = re.findall(r"command: \[/opt/sluice/frappe/sluice-frappe, (.*)\]", text)
        self.assertEqual(len(lines), 9)
        for line in lines:
            words = [word.strip('"') for word in line.split(", ")]
            if "--unit" in words:
                continue
            # 2 is argparse's; here there is no such directory, and no release.
            self.assertIn("sluice-frappe: ", self.run_it(*words, expect=1))

    # scripts/acceptance-frappe, before it does anything

    def test_what_two_benches_lack_is_said_before_anything_is_made_and_sites_that_cannot_be_upgraded_are_named(self):
        fixtures = HERE.parents[2] / "Tests" / "Fixtures"

        def check(*homes):
            ended = subprocess.run(
                ["/usr/bin/python3", "-B", str(fixtures / "fleet" / "frappe_acceptance.py"), "--binaries", "/nowhere", "--check", *map(str, homes)],
                capture_output=True, text=True, check=False)
            return ended.returncode, ended.stdout + ended.stderr
        old, new = self.root / "old", self.root / "new"
        for home, version in ((old, "14.51.0"), (new, "15.8.1")):
            subprocess.run([str(fixtures / "frappe" / "make-bench"), version, str(home)], check=True)
        (old / "sites" / "shop.example").mkdir()
        (old / "sites" / "shop.example" / "site_config.json").write_text('{"db_name": "shop"}')
        before = sorted(self.root.rglob("*"))
        status, said = check(old, new)
        self.assertEqual(status, 0, said)
        self.assertIn("shop.example is on mariadb, and is left alone: Sluice fences PostgreSQL", said)
        self.assertEqual(sorted(self.root.rglob("*")), before)
        self.assertIn("is no bench", check(self.root, new)[1])
        self.assertIn("both benches have Frappe 15.8.1", check(new, new)[1])
        (new / "sites" / "assets" / "assets.json").unlink()
        (old / "env" / "lib" / "python3.2" / "site-packages").mkdir(parents=True)
        status, said = check(old, new)
        self.assertEqual(status, 2)
        self.assertIn("run `bench build` there", said)
        self.assertIn("was installed with Python 3.2", said)

    # Caches

    def test_each_release_has_a_cache_of_its_own_and_what_waits_in_the_old_one_is_written_before_it_is_given_back(self):
        url, state = self.url, self.state
        self.ask_redis("RPUSH", "deferred-two.example", "seen by 14, which has no cache of its own")
        self.release("15.1.0", ["p1"])
        old = self.run_it("cache", "--redis", url, "--state", state)
        self.ask_redis("-n", "1", "RPUSH", "deferred-one.example", "seen in the window")
        self.ask_redis("-n", "2", "SET", "left", "by somebody")
        self.release("15.8.1", ["p1"])
        new = self.run_it("cache", "--redis", url, "--state", state)
        self.assertEqual((old.strip(), new.strip()), (url + "?db=1", url + "?db=2"))
        self.assertEqual(self.ask_redis("-n", "2", "DBSIZE"), "0")
        self.ask_redis("-n", "2", "SET", "mine", "kept")
        self.assertEqual(self.run_it("cache", "--redis", url, "--state", state), new)
        self.run_it("flush-deferred", "--sites", self.sites, "--redis", url, "--state", state)
        self.assertEqual(sql(SITES["one.example"], 'SELECT path FROM "tabView Log"'), [("seen in the window",)])
        self.assertEqual(sql(SITES["two.example"], 'SELECT path FROM "tabView Log"'), [("seen by 14, which has no cache of its own",)])
        self.assertEqual((self.ask_redis("-n", "1", "DBSIZE"), self.ask_redis("-n", "2", "GET", "mine")), ("0", "kept"))
        self.assertEqual(json.loads(state.read_text()), {"15.8.1": 2})
        # While it cannot be written, it stays.
        self.release("15.9.0", ["p1"])
        self.run_it("cache", "--redis", url, "--state", state)
        self.ask_redis("-n", "2", "RPUSH", "deferred-one.example", "later")
        with Fence():
            self.assertIn("it stays there", self.run_it("flush-deferred", "--sites", self.sites, "--redis", url, "--state", state, expect=1))
        self.assertEqual(json.loads(state.read_text()), {"15.8.1": 2, "15.9.0": 1})


if __name__ == "__main__":
    unittest.main()
