# SPDX-License-Identifier: Apache-2.0
"""What a tool whose driver reads no PGOPTIONS gets through `relay-pass`, by its drivers themselves where Debian has them.

`scripts/test-adapters migrate` gives PGHOST (a directory), PGPORT and PGUSER.
"""

import contextlib
import os
import pathlib
import socket
import ssl
import struct
import subprocess
import tempfile
import threading
import time
import unittest

RELAY_PASS = pathlib.Path(__file__).resolve().parent.parent / "relay-pass"
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
ASKED = "SELECT concat_ws(' ', current_setting('sluice.pass', true), current_setting('application_name'))"

# Each prints what the server has been told by a session of its own.
DRIVERS = {
    "asyncpg": """
import asyncio, asyncpg, os
async def main():
    connection = await asyncpg.connect(os.environ["DATABASE_URL"])
    print(await connection.fetchval(ASKED))
    await connection.close()
asyncio.run(main())
""",
    "asyncpg under SQLAlchemy": """
import asyncio, os, sqlalchemy
from sqlalchemy.ext.asyncio import create_async_engine
async def main():
    engine = create_async_engine(os.environ["DATABASE_URL"].replace("postgresql:", "postgresql+asyncpg:"))
    async with engine.connect() as connection:
        print((await connection.execute(sqlalchemy.text(ASKED))).scalar())
    await engine.dispose()
asyncio.run(main())
""",
    "pg8000": """
import os, pg8000, urllib.parse
url = urllib.parse.urlsplit(os.environ["DATABASE_URL"])
where = {"host": url.hostname, "port": url.port} if url.hostname else {
    "unix_sock": dict(urllib.parse.parse_qsl(url.query))["host"] + "/.s.PGSQL." + os.environ["PGPORT"]}
connection = pg8000.connect(user=url.username, database=url.path[1:], **where)
cursor = connection.cursor()
cursor.execute(ASKED)
print(cursor.fetchone()[0])
""",
}


class RelayPassTests(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = pathlib.Path(directory.name)
        self.url = "postgresql://%s@/postgres?host=%s" % (os.environ["PGUSER"], os.environ["PGHOST"])

    def environment(self, **more):
        return {"PATH": PATH, "PGPORT": os.environ["PGPORT"], "PGOPTIONS": "-c sluice.pass=open", "PGAPPNAME": "the tool",
                "SLUICE_RELEASE_DIR": str(self.directory), "PYTHONDONTWRITEBYTECODE": "1", **more}

    def run_tool(self, variables, *command, **more):
        done = subprocess.run([RELAY_PASS, variables, *command], env=self.environment(**more), stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60)
        self.output = done.stdout.strip()
        return done.returncode

    def test_drivers_that_read_no_environment_show_the_pass(self):
        for name, text in DRIVERS.items():
            script = ["/usr/bin/python3", "-W", "ignore", "-c", "ASKED = %r\n%s" % (ASKED, text)]
            with self.subTest(name):
                # By themselves they do not, which is why there is such a script.
                alone = subprocess.run(script, env=self.environment(DATABASE_URL=self.url), stdout=subprocess.PIPE, text=True, check=True)
                self.assertNotIn("open", alone.stdout)
                self.assertEqual(self.run_tool("DATABASE_URL", *script, DATABASE_URL=self.url), 0, self.output)
                self.assertEqual(self.output, "open the tool")

    def test_asyncpg_takes_the_parameter_of_a_url_as_well(self):
        url = self.url + "&options=-c%20sluice.pass%3Dopen"
        done = subprocess.run(["/usr/bin/python3", "-c", "ASKED = %r\n%s" % (ASKED, DRIVERS["asyncpg"])],
                              env=self.environment(DATABASE_URL=url), stdout=subprocess.PIPE, text=True, check=True)
        self.assertEqual(done.stdout.strip(), "open")

    def test_the_address_is_found_in_the_file_of_the_release_and_in_two_variables(self):
        ask = ["sh", "-c", "unset PGOPTIONS PGAPPNAME; psql -X -A -t -c \"%s\" \"$DB\"" % ASKED]
        (self.directory / ".env").write_text("# comment=1\nexport DB='%s'\n" % self.url)
        self.assertEqual(self.run_tool("DB", *ask), 0, self.output)
        self.assertEqual(self.output, "open the tool")
        ask[2] = ask[2].replace('"$DB"', "-h $PGHOST -p $PGPORT -U postgres postgres")
        self.assertEqual(self.run_tool("PGHOST:PGPORT", *ask, PGHOST=os.environ["PGHOST"]), 0, self.output)
        self.assertEqual(self.output, "open the tool")

    def test_what_the_tool_said_itself_stays(self):
        ask = ["sh", "-c", "psql -X -A -t -c \"SELECT concat_ws(' ', current_setting('work_mem'), current_setting('sluice.pass'))\" \"$DB\""]
        url = self.url + "&options=-c%20work_mem%3D7MB"
        self.assertEqual(self.run_tool("DB", *ask, DB=url), 0, self.output)
        self.assertEqual(self.output, "7MB open")

    def test_the_tool_ends_as_it_ends(self):
        self.assertEqual(self.run_tool("DB", "sh", "-c", "exit 7", DB=self.url), 7)
        self.assertEqual(self.run_tool("DB", "sh", "-c", "kill -TERM $$", DB=self.url), 143)

    def test_what_is_wrong_is_said(self):
        for variables, more, text in [
                ("DB", {}, "DB is neither in the environment"), ("DB", {"DB": "shop"}, "DB is no URL"),
                ("DB", {"DB": "postgresql://a,b/shop"}, "several hosts"), ("DB", {"DB": "postgresql://a:x/shop"}, "is no port")]:
            self.assertEqual(self.run_tool(variables, "true", **more), 2)
            self.assertIn(text, self.output)

    def test_a_process_of_another_user_is_not_let_in(self):
        if os.geteuid() != 0:
            self.skipTest("only root has other users")
        place = self.directory / "place"
        self.directory.chmod(0o777)
        process = subprocess.Popen(
            ["setpriv", "--reuid", "nobody", "--clear-groups", RELAY_PASS, "DB", "sh", "-c", "echo $DB > place.new; mv place.new place; sleep 60"],
            cwd=self.directory, env=self.environment(DB=self.url), stderr=subprocess.PIPE, text=True)
        try:
            deadline = time.monotonic() + 30
            while not place.exists():
                self.assertIsNone(process.poll())
                self.assertLess(time.monotonic(), deadline, "the tool has not begun")
                time.sleep(0.05)
            done = subprocess.run(["psql", "-X", "-c", "SELECT 1", place.read_text().strip()], stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, text=True, env={"PATH": PATH})
        finally:
            process.terminate()
            process.communicate()
        self.assertNotEqual(done.returncode, 0, done.stdout)

    # TLS, with a server that only tells what it has been told

    def server(self, answer):
        """Accepts one session; returns its port, and what it has got as the beginning."""
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                        "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", self.directory / "key.pem",
                        "-out", self.directory / "chain.pem"], check=True, stderr=subprocess.DEVNULL)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.directory / "chain.pem", self.directory / "key.pem")
        listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listener.close)
        got = []

        def accept():
            try:
                connection, _ = listener.accept()
                connection.settimeout(20)
                with contextlib.ExitStack() as opened:
                    opened.enter_context(connection)
                    if struct.unpack("!ii", connection.recv(8, socket.MSG_WAITALL))[1] == 80877103:
                        connection.sendall(answer)
                        if answer == b"S":
                            connection = opened.enter_context(context.wrap_socket(connection, server_side=True))
                        got.append(connection.recv(10_000))
                    text = b"SFATAL\0C28000\0Mseen\0\0"
                    connection.sendall(b"E" + struct.pack("!i", len(text) + 4) + text)
            except OSError:
                pass

        threading.Thread(target=accept, daemon=True).start()
        return listener.getsockname()[1], got

    def tool(self):
        return ["sh", "-c", 'psql -X -c "SELECT 1" "$DB"']

    def test_it_speaks_tls_with_the_database_as_the_url_says(self):
        for mode, answer, name, is_heard in [
                ("require", b"S", "localhost", True), ("verify-full", b"S", "localhost", True), ("verify-full", b"S", "127.0.0.1", False),
                ("verify-ca", b"S", "127.0.0.1", True), ("require", b"N", "localhost", False), ("prefer", b"N", "localhost", True)]:
            with self.subTest("%s %s %s" % (mode, answer, name)):
                port, got = self.server(answer)
                url = "postgresql://a:b@%s:%d/shop?sslmode=%s&sslrootcert=%s" % (name, port, mode, self.directory / "chain.pem")
                self.assertNotEqual(self.run_tool("DB", *self.tool(), DB=url), 0)
                self.assertEqual(any(b"sluice.pass=open" in each for each in got), is_heard, self.output)


if __name__ == "__main__":
    unittest.main()
