# SPDX-License-Identifier: Apache-2.0
"""A fleet with a cache in every place: Varnish in front of all nodes, nginx on each, Redis and memcached behind the application.

Varnish is banned by a hook, nginx has the generation in its keys, the application the release's in the names of what it keeps.
"""

import collections
import json
import os
import pathlib
import shlex
import time

import checker
from balancer import Balancer
from checker import Claim
from node import REPOSITORY, Node
from processes import wait_until
from sluice import SluiceFleet

HOOK = "\nhooks:\n  - {before: rollout, run: forget, undo: forget, until: verify, where: one-node}\n"
PLACES = {"varnish": "Varnish in front of all nodes", "redis": "Redis", "memcached": "memcached", "HIT": "nginx on each node"}


class CachedNode(Node):
    def write_environment(self, database_url):
        super().write_environment(database_url)
        with self.environment_file.open("a") as file:
            file.write("GUESTBOOK_CACHES=%s\n" % shlex.quote(str(self.root.parent / "stores")))
            if os.environ.get("GUESTBOOK_ONE_GENERATION"):
                file.write("GUESTBOOK_ONE_GENERATION=1\n")


class Fronted(Balancer):
    """The load balancer with a Varnish in front of it, which keeps the lists of entries."""

    def __init__(self, *arguments, front):
        super().__init__(*arguments)
        self.front = front

    def start(self):
        super().start()
        vcl = self.root / "site.vcl"
        vcl.write_text(self.cache())
        log = self.root / "varnish.log"
        process = self.processes.start(
            "varnish",
            ["/usr/sbin/varnishd", "-F", "-j", "none", "-n", self.root / "varnish", "-a", "%s:%d" % (self.address, self.front),
             "-f", vcl, "-s", "malloc,16m", "-T", "none"], log)
        self.is_fronted = True
        wait_until("Varnish answers (log: %s)" % log, self._answers, alive=process)

    is_fronted = False

    def url(self, path="/"):
        return "http://%s:%d%s" % (self.address, self.front if self.is_fronted else self.port, path)

    def cache(self):
        return f"""vcl 4.1;
include "{REPOSITORY}/agents/caches/sluice.vcl";
backend default {{ .host = "{self.address}"; .port = "{self.port}"; .first_byte_timeout = 60s; }}
sub vcl_backend_response {{
    set beresp.grace = 0s;
    if (beresp.status == 200 && bereq.url ~ "^/([?]|$)") {{
        set beresp.ttl = 120s;
    }} else {{
        set beresp.uncacheable = true;
    }}
    return (deliver);
}}
sub vcl_deliver {{
    if (obj.hits > 0) {{
        set resp.http.X-Cache = "varnish";
    }}
}}
"""


class CachedFleet(SluiceFleet):
    node_type = CachedNode

    def __init__(self, binaries, **options):
        super().__init__(binaries, **options)
        self.balancer = Fronted(
            self.balancer.address, self.balancer.port, self.balancer.root, self.nodes, self.processes, front=self._ports.take())

    def start(self):
        stores = self.directory / "stores"
        stores.mkdir()
        self.processes.start(
            "redis", ["/usr/bin/redis-server", "--port", "0", "--unixsocket", stores / "redis.sock", "--save", "", "--dir", stores],
            stores / "redis.log")
        self.processes.start(
            "memcached", ["/usr/bin/memcached", "-s", stores / "memcached.sock", "-u", "root" if os.geteuid() == 0 else "nobody"],
            stores / "memcached.log")
        wait_until("Redis and memcached listen", lambda: all((stores / name).exists() for name in ["redis.sock", "memcached.sock"]))
        super().start()

    def agent_configuration(self, node):
        site = "%s:%d" % (self.balancer.address, self.balancer.front)
        command = ["/usr/bin/curl", "--fail", "--silent", "--show-error", "--max-time", "10", "--request", "BAN", "http://%s/" % site]
        return super().agent_configuration(node).replace(
            "actions:\n", "actions:\n  forget:\n    command: %s\n    repeatable: true\n" % json.dumps(command), 1)

    def plan(self):
        return self.variant("cached", append=HOOK)


def pages(directory):
    notes = checker.notes_of(directory, "reader") + checker.notes_of(directory, "tabs")
    return [note for note in notes if note["kind"] != "asset" and note["status"] == 200]


def wait_for_use(directory: pathlib.Path):
    """Until readers have had pages from now on out of each cache that they ask often enough; nginx is behind Varnish."""
    now = time.time()

    def is_used():
        found = {note["cache"] for note in pages(directory) if note["began"] > now}
        return found.issuperset(set(PLACES) - {"HIT"})
    wait_until("pages come out of each cache", is_used, every=0.2)


def old_pages(directory: pathlib.Path, window):
    """For each cache: no page of the old release out of it after the lift, and it was in use before and after."""
    notes = pages(directory)
    claims = []
    for place, name in PLACES.items():
        found = [note for note in notes if note["cache"] == place]
        late = [note for note in found if note["began"] > window.lift_ended_at]
        old = [note for note in late if note["release"] != window.new_release]
        before = collections.Counter(note["release"] for note in found)[window.old_release]
        # What Varnish keeps, nginx is seldom asked for again.
        is_used = (late and before) or place == "HIT"
        claims.append(Claim(
            "old pages after the lift out of %s" % name, "%d of %d (of the old release before: %d)" % (len(old), len(late), before),
            "0", not old and bool(is_used), [json.dumps(note) for note in old[:10]]))
    return claims
