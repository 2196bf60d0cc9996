# SPDX-License-Identifier: Apache-2.0
"""How far what is watched is behind what has happened: one stream of a run, as `sluice status --watch` reads it."""

import http.client
import json
import threading
import time


class Follower(threading.Thread):
    """Follows a run to its end. Both clocks are this machine's.

    `slowest_fact` is the longest time from when an event was taken in to when it came here; `slowest_view` the longest time
    from an event to the first view that shows it.
    """

    def __init__(self, port, token, run, nodes=200):
        super().__init__(daemon=True)
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        self._path = "/v1/runs/%s/stream?nodes=%d" % (run, nodes)
        self._token = token
        self._waiting = []
        self.slowest_fact = self.slowest_view = 0.0
        self.facts = self.views = 0

    def run(self):
        self._connection.request("GET", self._path, headers={"Authorization": "Bearer %s" % self._token})
        name = None
        for line in self._connection.getresponse():
            if line.startswith(b"event: "):
                name = line[7:].strip()
            elif line.startswith(b"data: "):
                self._take(name, json.loads(line[6:]), time.time())

    def _take(self, name, data, now):
        if name == b"fact":
            self.facts += 1
            at = data["at"] / 1000
            self.slowest_fact = max(self.slowest_fact, now - at)
            self._waiting.append((data["version"], at))
        elif name == b"view":
            self.views += 1
            shown = [at for version, at in self._waiting if version <= data["version"]]
            self._waiting = [entry for entry in self._waiting if entry[0] > data["version"]]
            if shown:
                self.slowest_view = max(self.slowest_view, now - min(shown))
