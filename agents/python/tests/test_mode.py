# SPDX-License-Identifier: Apache-2.0
import os
import subprocess
import sys
import threading
import time
import unittest

import psycopg2

import agent
import database
import sluice_mode
from sluice_mode import mode

file = agent.mode_file


class ModeTests(unittest.TestCase):
    def tearDown(self):
        file.open_gate()

    def test_without_a_file_and_without_a_header_an_application_is_in_its_normal_mode(self):
        self.assertFalse(sluice_mode.flags.read_only)

    def test_outside_of_a_request_the_agents_file_says_the_mode(self):
        file.close_gate()
        self.assertTrue(sluice_mode.flags.read_only)
        self.assertEqual((mode.of_file().retry_after, mode.of_file().message), (7, "We are upgrading."))

    def test_a_damaged_file_is_read_only_as_the_agent_takes_it(self):
        for text in ("", "{", "[]", '{"readOnly"', "null", '{"version": 1}'):
            file.write(text)
            self.assertTrue(sluice_mode.flags.read_only, text)

    def test_the_proxys_header_decides_over_the_file_and_no_other_value_does(self):
        self.assertTrue(mode.of_request("read-only").read_only)
        file.close_gate()
        self.assertFalse(mode.of_request("normal").read_only)
        self.assertTrue(mode.of_request("").read_only)
        self.assertTrue(mode.of_request("anything").read_only)

    def test_a_courtesy_write_is_left_out_while_read_only_and_its_refusal_swallowed(self):
        done = []
        count = sluice_mode.unless_read_only(lambda: done.append(1) or "done")
        self.assertEqual(count(), "done")
        file.close_gate()
        self.assertIsNone(count())
        self.assertEqual(done, [1])
        file.open_gate()

        @sluice_mode.unless_read_only
        def refused():
            database.run("SET default_transaction_read_only = on; CREATE TABLE x (y int)", "postgres")

        @sluice_mode.unless_read_only
        def wrong():
            database.run("SELECT nothing", "postgres")

        self.assertIsNone(refused())
        self.assertRaises(psycopg2.errors.UndefinedColumn, wrong)


class WaitingTests(unittest.TestCase):
    def tearDown(self):
        file.open_gate()

    def test_a_command_of_cron_is_begun_when_the_gate_has_opened_and_not_before(self):
        file.close_gate()
        began = time.monotonic()
        command = subprocess.Popen(
            [sys.executable, "-m", "sluice_mode", sys.executable, "-c", "import os; print(os.path.exists(os.environ['SLUICE_MODE_FILE']))"],
            stdout=subprocess.PIPE)
        threading.Timer(1.5, file.open_gate).start()
        output, _ = command.communicate()
        self.assertEqual((command.returncode, output), (0, b"False\n"))
        self.assertGreaterEqual(time.monotonic() - began, 1.5)

    def test_a_command_that_has_waited_long_enough_is_not_begun_and_the_status_says_try_again(self):
        file.close_gate()
        ended = subprocess.run([sys.executable, "-m", "sluice_mode", "--at-most", "0", "/bin/echo", "begun"], capture_output=True)
        self.assertEqual((ended.returncode, ended.stdout), (75, b""))
        self.assertIn(b"not begun: /bin/echo", ended.stderr)

    def test_a_command_keeps_its_own_status_and_arguments(self):
        ended = subprocess.run([sys.executable, "-m", "sluice_mode", "/bin/sh", "-c", "exit $1", "-", "3"])
        self.assertEqual(ended.returncode, 3)
        ended = subprocess.run([sys.executable, "-m", "sluice_mode", "/no/such"], stderr=subprocess.DEVNULL)
        self.assertEqual(ended.returncode, 127)


if __name__ == "__main__":
    unittest.main()
