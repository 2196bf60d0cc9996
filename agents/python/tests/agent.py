# SPDX-License-Identifier: Apache-2.0
"""Stands in for the agent: its mode.json."""

import os
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


mode_file = ModeFile()
