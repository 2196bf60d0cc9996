# SPDX-License-Identifier: Apache-2.0
"""A store with many ended runs, made from one: the same events under other names, each with the digests that belong to it."""

import hashlib
import sqlite3


def _link(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def _number(value):
    return value.to_bytes(8, "little", signed=True)


def multiply(path, count):
    """Adds copies of the only run of a store that nobody leads, until it has `count` runs. Returns how many events it has then."""
    store = sqlite3.connect(path)
    ((run, fleet, created, version),) = store.execute("SELECT run, fleet, created_at, version FROM run").fetchall()
    events = store.execute(
        "SELECT version, epoch, at, body FROM event WHERE run = ? ORDER BY version", (run,)).fetchall()
    for copy in range(1, count):
        name = "%s-%s" % (run[:-5], "%04d" % copy)
        assert len(name) == len(run)
        link = _link(b"sluice run 1\n" + name.encode())
        rows = []
        for number, epoch, at, body in events:
            body = body.replace(run.encode(), name.encode())
            link = _link(link, _number(number), _number(epoch), _number(at), _number(len(body)), body)
            rows.append((name, number, epoch, at, body, link))
        store.execute("INSERT INTO run (run, fleet, created_at, version, chain) VALUES (?, ?, ?, ?, ?)",
                      (name, fleet, created, version, link))
        store.executemany("INSERT INTO event VALUES (?, ?, ?, ?, ?, ?)", rows)
    store.commit()
    (total,) = store.execute("SELECT count(*) FROM event").fetchone()
    store.close()
    return total
