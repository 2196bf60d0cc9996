# SPDX-License-Identifier: Apache-2.0
"""The guestbook, whatever release, with searches kept in Redis and forms in memcached, for all nodes together.

What it keeps has a name that begins with the release and the generation that the agent gave to this process (docs/caches.md).
GUESTBOOK_CACHES is a directory with the sockets of both. GUESTBOOK_ONE_GENERATION=1 leaves that prefix out, to see what comes of it.
"""

import hashlib
import json
import os

import memcache
import redis

import app

SECONDS = 120
GENERATION = "" if os.environ.get("GUESTBOOK_ONE_GENERATION") else "%s:%s" % (
    os.environ["SLUICE_RELEASE"], os.environ.get("SLUICE_GENERATION", ""))


class Redis:
    name = "redis"

    def __init__(self, directory):
        self._store = redis.Redis(unix_socket_path=directory + "/redis.sock")

    def get(self, key):
        return self._store.get(key)

    def set(self, key, value):
        self._store.set(key, value, ex=SECONDS)


class Memcached:
    name = "memcached"

    def __init__(self, directory):
        self._store = memcache.Client(["unix:%s/memcached.sock" % directory])

    def get(self, key):
        return self._store.get(key)

    def set(self, key, value):
        self._store.set(key, value, time=SECONDS)


class Kept:
    def __init__(self, application, stores):
        self._application = application
        self._stores = stores

    def __call__(self, environ, start_response):
        store = self._stores.get(environ["PATH_INFO"]) if environ["REQUEST_METHOD"] == "GET" else None
        if store is None:
            return self._application(environ, start_response)
        words = "%s %s?%s" % (GENERATION, environ["PATH_INFO"], environ.get("QUERY_STRING", ""))
        key = "guestbook:" + hashlib.sha256(words.encode()).hexdigest()
        kept = store.get(key)
        if kept:
            status, headers, body = json.loads(kept)
            start_response(status, [*map(tuple, headers), ("X-Cache", store.name)])
            return [body.encode()]
        return self._made(environ, start_response, store, key)

    def _made(self, environ, start_response, store, key):
        said = []
        parts = self._application(environ, lambda status, headers, *_: said.extend([status, headers]))
        body = b"".join(parts)
        if hasattr(parts, "close"):
            parts.close()
        if said[0].startswith("200 "):
            store.set(key, json.dumps([*said, body.decode()]))
        start_response(*said)
        return [body]


_directory = os.environ["GUESTBOOK_CACHES"]
application = Kept(app.application, {"/search": Redis(_directory), "/write": Memcached(_directory)})
