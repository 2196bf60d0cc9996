# SPDX-License-Identifier: Apache-2.0
"""A real worker of Celery, its queue in files."""

import os
import subprocess
import sys
import tempfile
import time
import unittest

import agent
import database

file = agent.mode_file


def setUpModule():
    database.create()
    database.guard()


class CeleryTests(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory(prefix="sluice-jobs.")
        os.mkdir(self.folder.name + "/queue")
        self.environment = {**os.environ, "JOBS_FOLDER": self.folder.name}
        self.log = open(self.folder.name + "/log", "wb")
        self.worker = subprocess.Popen(
            [sys.executable, "-m", "celery", "-A", "jobs", "worker", "--pool", "solo", "--without-gossip", "--without-mingle",
             "--without-heartbeat"], env=self.environment, stdout=self.log, stderr=self.log)

    def tearDown(self):
        file.open_gate()
        self.worker.kill()
        self.worker.wait()
        self.log.close()
        self.folder.cleanup()

    def add(self, text):
        subprocess.run([sys.executable, "-c", "import jobs, sys; jobs.add.delay(sys.argv[1])", text], env=self.environment, check=True)

    def begun(self):
        try:
            with open(self.folder.name + "/begun", encoding="utf-8") as lines:
                return lines.read().split()
        except FileNotFoundError:
            return []

    def stored(self):
        return [text for text, in database.run("SELECT text FROM note ORDER BY id")]

    def wait_until(self, what):
        deadline = time.monotonic() + 60
        while not what():
            if time.monotonic() > deadline:
                with open(self.folder.name + "/log", encoding="utf-8") as log:
                    self.fail("not so after 60 s; the worker says:\n" + log.read()[-3000:])
            time.sleep(0.1)

    def test_a_job_waits_for_the_gate_and_a_refused_one_runs_again_until_it_is_stored_once(self):
        self.add("first")
        self.wait_until(lambda: self.stored() == ["first"])
        file.close_gate()
        self.add("second")
        # Taken out of the queue, and not begun.
        self.wait_until(lambda: not os.listdir(self.folder.name + "/queue"))
        self.assertEqual(self.begun(), ["first"])
        file.open_gate()
        self.wait_until(lambda: self.stored() == ["first", "second"])
        with database.Fence():
            self.add("third")
            self.wait_until(lambda: self.begun().count("third") >= 2)
            self.assertEqual(self.stored(), ["first", "second"])
        self.wait_until(lambda: self.stored() == ["first", "second", "third"])


if __name__ == "__main__":
    unittest.main()
