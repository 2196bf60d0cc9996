# SPDX-License-Identifier: Apache-2.0
"""As much of a client of Redis as is needed here."""

import socket
import urllib.parse


class Redis:
    def __init__(self, url):
        parts = urllib.parse.urlsplit(url)
        if parts.scheme == "unix":
            number = urllib.parse.parse_qs(parts.query).get("db", ["0"])[0]
            self._socket = socket.socket(socket.AF_UNIX)
            self._socket.settimeout(10)
            self._socket.connect(parts.path)
        else:
            number = parts.path.strip("/") or "0"
            self._socket = socket.create_connection((parts.hostname, parts.port or 6379), 10)
        self._file = self._socket.makefile("rb")
        self.ask("SELECT", number)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._file.close()
        self._socket.close()

    def ask(self, *words):
        words = [str(word).encode() for word in words]
        self._socket.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words))
        return self._answer()

    def _answer(self):
        line = self._file.readline()
        kind, rest = line[:1], line[1:-2]
        if kind == b"-" or not line:
            raise OSError("Redis: %s" % rest.decode())
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return None if int(rest) < 0 else self._file.read(int(rest) + 2)[:-2].decode()
        if kind == b"*":
            return [self._answer() for _ in range(int(rest))]
        return rest.decode()
