# SPDX-License-Identifier: Apache-2.0
"""`namespace` with a real Redis and a real memcached: a run begins a generation, and a way back finds the one before."""

import os
import pathlib
import socket
import subprocess
import tempfile
import threading
import time
import unittest

NAMESPACE = pathlib.Path(__file__).resolve().parent.parent / "namespace"
PATIENCE = float(os.environ.get("PATIENCE", "30"))


class Stores:
    """What an application does with either, and how each is started on a socket."""

    @staticmethod
    def redis(directory):
        return ["/usr/bin/redis-server", "--port", "0", "--unixsocket", directory + "/store.sock", "--save", "", "--dir", directory]

    @staticmethod
    def memcached(directory):
        return ["/usr/bin/memcached", "-s", directory + "/store.sock", "-u", "root" if os.geteuid() == 0 else "nobody"]


class Application:
    """Keeps pages under the generation that the key names, as docs/caches.md says."""

    def __init__(self, kind, path):
        if kind == "redis":
            import redis
            self._store = redis.Redis(unix_socket_path=path)
        else:
            import memcache
            self._store = memcache.Client(["unix:" + path])

    def generation(self):
        name = self._store.get("shop:generation")
        return name.decode() if isinstance(name, bytes) else name

    def page(self, release):
        """What a reader gets: from the store, or made by a release and kept."""
        name = "%s:page" % self.generation()
        kept = self._store.get(name)
        if kept is None:
            self._store.set(name, release)
            return release
        return kept.decode() if isinstance(kept, bytes) else kept


class NamespaceTests(unittest.TestCase):
    def start(self, kind, *more):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        path = directory.name + "/store.sock"
        process = subprocess.Popen([*getattr(Stores, kind)(directory.name), *more], stdout=subprocess.DEVNULL)
        self.addCleanup(process.wait)
        self.addCleanup(process.terminate)
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                with socket.socket(socket.AF_UNIX) as probe:
                    probe.connect(path)
                break
            except OSError:
                if time.monotonic() > deadline or process.poll() is not None:
                    raise RuntimeError("%s does not answer" % kind)
                time.sleep(0.02)
        return path

    def action(self, kind, path, what, run="run-1", code=0, more=()):
        ended = subprocess.run(
            [NAMESPACE, kind, "--socket", path, *more, what, "shop:generation"], env={"SLUICE_RUN": run},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=PATIENCE)
        self.assertEqual(ended.returncode, code, ended.stderr)
        return ended.stdout + ended.stderr

    def test_a_run_begins_a_generation_and_a_way_back_finds_the_one_before(self):
        for kind in ("redis", "memcached"):
            with self.subTest(kind):
                path = self.start(kind)
                shop = Application(kind, path)
                self.assertEqual([shop.page("v1"), shop.page("v2")], ["v1", "v1"])
                # Each twice: an agent that was killed runs its action again.
                for _ in range(2):
                    self.action(kind, path, "begin")
                self.assertEqual([shop.page("v2"), shop.page("v2")], ["v2", "v2"])
                for _ in range(2):
                    self.action(kind, path, "back")
                self.assertEqual([shop.generation(), shop.page("nobody")], [None, "v1"])
                # The next run, and its own way back, whatever the first one did.
                self.action(kind, path, "begin", "run-2")
                self.assertEqual(shop.page("v3"), "v3")
                self.action(kind, path, "begin", "run-3")
                self.action(kind, path, "back", "run-2")
                self.assertEqual([shop.generation(), shop.page("v4")], ["run-3", "v4"])
                self.action(kind, path, "back", "run-3")
                self.assertEqual(shop.page("nobody"), "v3")

    def test_nodes_that_begin_at_once_leave_one_generation_and_the_way_back(self):
        for kind in ("redis", "memcached"):
            with self.subTest(kind):
                path = self.start(kind)
                self.action(kind, path, "begin", "run-1")
                threads = [threading.Thread(target=self.action, args=(kind, path, "begin", "run-2")) for _ in range(8)]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
                self.assertEqual(Application(kind, path).generation(), "run-2")
                self.action(kind, path, "back", "run-2")
                self.assertEqual(Application(kind, path).generation(), "run-1")

    def test_back_without_a_beginning_changes_nothing(self):
        for kind in ("redis", "memcached"):
            with self.subTest(kind):
                path = self.start(kind)
                self.action(kind, path, "begin", "run-1")
                self.action(kind, path, "back", "run-2")
                self.assertEqual(Application(kind, path).generation(), "run-1")

    def test_a_store_that_is_not_there_or_wants_a_password_says_so(self):
        for kind in ("redis", "memcached"):
            self.assertIn("cannot be asked", self.action(kind, "/nonexistent/store.sock", "begin", code=1))
        path = self.start("redis", "--requirepass", "open sesame")
        self.assertIn("NOAUTH", self.action("redis", path, "begin", code=1))
        with tempfile.NamedTemporaryFile("w", suffix=".password") as file:
            file.write("open sesame\n")
            file.flush()
            self.action("redis", path, "begin", more=["--password-file", file.name])
            os.chmod(file.name, 0o644)
            self.assertIn("chmod 600", self.action("redis", path, "begin", code=1, more=["--password-file", file.name]))
        self.assertIn("SLUICE_RUN", self.action("redis", path, "begin", run="", code=1))


if __name__ == "__main__":
    unittest.main()
