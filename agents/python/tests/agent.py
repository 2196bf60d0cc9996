# SPDX-License-Identifier: Apache-2.0
"""Stands in for the agent: its mode.json."""

import contextlib
import os
import signal
import tempfile


class ModeFile:
    """The agent's mode.json, in a directory of its own that SLUICE_MODE_FILE names."""

    def __init__(self):
        self._directory = tempfile.TemporaryDirectory(prefix="sluice-mode.")
        self.path = os.path.join(self._directory.name, "mode.json")
        os.environ["SLUICE_MODE_FILE"] = self.path

    def write(self, text):
        with open(self.path + ".new", "w", encoding="utf-8") as file:
            file.write(text)
        os.rename(self.path + ".new", self.path)

    def close_gate(self):
        self.write('{"version": 1, "readOnly": true, "retryAfterSeconds": 7, "message": "We are upgrading."}')

    def open_gate(self):
        if os.path.exists(self.path):
            os.unlink(self.path)


    def remove(self):
        if os.path.isdir(self.path) and not os.path.islink(self.path):
            os.rmdir(self.path)
        elif os.path.lexists(self.path):
            os.unlink(self.path)


mode_file = ModeFile()

# Where nobody says a mode: what is in the place of mode.json, each with what makes it.
NO_FILE = {
    "no file": lambda path: None,
    "a directory, as a container engine makes one for a file that it misses": os.mkdir,
    "a link to nowhere": lambda path: os.symlink(path + ".none", path),
    "a link to itself": lambda path: os.symlink(path, path),
    "a pipe into which nobody writes": os.mkfifo,
    "a device": lambda path: os.symlink("/dev/zero", path),
}
# What is there and cannot be understood: read-only, and whoever only reads is served as ever.
GARBAGE = ["", "{", "null", "3", "[" * 60_000, "\x00" * 100_000, '{"readOnly": true, "retryAfterSeconds": 1e999}',
           '{"readOnly": true, "retryAfterSeconds": [1], "message": ["x"]}', '{"readOnly": true, "message": "\\ud800"}']
# What comes with a request of a proxy that is not, or not rightly, configured.
NO_HEADER = [None, "", "garbage", "normal, read-only", "READ-ONLY", "\xff" * 2000]


@contextlib.contextmanager
def without_mode(kind):
    """With it: nobody says a mode. Whoever waits for one all the same is interrupted."""
    mode_file.remove()
    NO_FILE[kind](mode_file.path)
    with in_time(300):
        try:
            yield
        finally:
            mode_file.remove()


@contextlib.contextmanager
def garbage(text):
    mode_file.write(text)
    with in_time(300):
        try:
            yield
        finally:
            mode_file.remove()


@contextlib.contextmanager
def in_time(seconds):
    def late(*_):
        raise TimeoutError("still under way after %d s" % seconds)
    was = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, was)
