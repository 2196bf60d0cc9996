# SPDX-License-Identifier: Apache-2.0
"""Thousands of pages that listen on one node, for figures: what they cost the agent and nginx, and when they hear of a window.

    streams.py --binaries DIRECTORY [--streams 10000] [--seconds 60]

One real node with everything around it; the pages are connections of this process, through the node's nginx.
"""

import argparse
import collections
import pathlib
import re
import resource
import select
import socket
import statistics
import sys
import threading
import time

from fleet import interrupt_on_signals
from node import Node
from processes import memory_megabytes, processor_seconds, wait_until
from sluice import SluiceFleet


class StreamNode(Node):
    streams = 0

    def nginx_configuration(self):
        """Two workers, which share the pages: each page takes two open files of a worker, and a process may have 20,000 here."""
        room = self.streams + 2000
        text = super().nginx_configuration()
        for old, new in (("worker_processes 1;", "worker_processes 2;\nworker_rlimit_nofile %d;" % room),
                         ("worker_connections 1024", "worker_connections %d" % room),
                         ("listen %s:%d;" % (self.address, self.port), "listen %s:%d reuseport;" % (self.address, self.port))):
            if old not in text:
                raise ValueError("the configuration of a node has no %r" % old)
            text = text.replace(old, new)
        return text


class StreamFleet(SluiceFleet):
    node_type = StreamNode

    def __init__(self, binaries, streams):
        super().__init__(binaries, nodes=1, script=True)
        self.nodes[0].streams = streams

    def agent_configuration(self, node):
        return super().agent_configuration(node).replace("gate:\n", "gate:\n  streams: %d\n" % node.streams)


class Pages(threading.Thread):
    """Connections that listen; remembers when each first heard each mode."""

    def __init__(self, address, count):
        super().__init__(daemon=True)
        self._address, self._count = address, count
        self._poll = select.epoll()
        self._open, self._text = {}, {}
        self.heard = collections.defaultdict(dict)
        self.ended = 0

    @property
    def listening(self):
        return len(self.heard["any"])

    def run(self):
        for _ in range(self._count):
            one = socket.create_connection(self._address)
            one.sendall(b"GET /_sluice/events HTTP/1.1\r\nHost: pages\r\n\r\n")
            one.setblocking(False)
            self._open[one.fileno()], self._text[one.fileno()] = one, b""
            self._poll.register(one, select.EPOLLIN)
            self._hear(0)
        while True:
            self._hear(1)

    def _hear(self, seconds):
        for number, _ in self._poll.poll(seconds):
            more = self._open[number].recv(65536)
            now = time.time()
            if not more:
                self._poll.unregister(number)
                self._open.pop(number).close()
                self.ended += 1
                continue
            whole, _, self._text[number] = (self._text[number] + more).rpartition(b"\n\n")
            for mode in re.findall(rb'"readOnly":(true|false)', whole):
                self.heard["any"].setdefault(number, now)
                if mode == b"true" or number in self.heard["true"]:
                    self.heard[mode.decode()].setdefault(number, now)

    def forget(self):
        self.heard["true"], self.heard["false"] = {}, {}

    def after(self, mode, began):
        """Milliseconds from an instant until half of them and the last had heard a mode."""
        times = [(at - began) * 1000 for at in self.heard[mode].values()]
        return "%d of %d, median %.0f ms, last %.0f ms" % (len(times), self._count, statistics.median(times), max(times))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binaries", required=True, type=pathlib.Path)
    parser.add_argument("--streams", type=int, default=10000)
    parser.add_argument("--seconds", type=float, default=60)
    arguments = parser.parse_args()
    interrupt_on_signals()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with StreamFleet(arguments.binaries, arguments.streams) as fleet:
        node = fleet.nodes[0]
        agent = fleet.processes[fleet.agent_name(node)].pid
        master = fleet.processes["nginx %s" % node.name].pid
        nginx = [int(pid) for pid in pathlib.Path("/proc/%d/task/%d/children" % (master, master)).read_text().split()]

        def processors():
            return processor_seconds(agent), sum(map(processor_seconds, nginx))

        def say(what, seconds):
            before = processors()
            time.sleep(seconds)
            used = [(now - then) / seconds * 100 for now, then in zip(processors(), before)]
            print("%s: agent %.1f MB of its own, %.2f %% of a core; nginx %.1f MB, %.2f %%" % (
                what, memory_megabytes(agent)[0], used[0], sum(memory_megabytes(pid)[0] for pid in nginx), used[1]), flush=True)

        say("nobody listens", arguments.seconds / 4)
        pages = Pages((node.address, node.port), arguments.streams)
        began = time.monotonic()
        pages.start()
        wait_until("all pages listen", lambda: pages.listening >= arguments.streams, deadline=120)
        print("%d pages listen after %.1f s" % (arguments.streams, time.monotonic() - began), flush=True)
        say("they listen", arguments.seconds)
        pages.forget()
        used = processor_seconds(agent)
        code, run = fleet.apply(fleet.plan(), say=lambda text: None)
        wait_until("all have heard of the lift", lambda: len(pages.heard["false"]) >= arguments.streams - pages.ended)
        journal = fleet.journal(run)
        print("a run: exit code %d, %.2f s of the agent's processor, %d streams ended" % (
            code, processor_seconds(agent) - used, pages.ended))
        print("from the order to close, read-only was heard by " + pages.after("true", journal.step("nodes:closed")[0]))
        print("from the order to open, normal was heard by " + pages.after("false", journal.step("nodes:opened")[0]))
        print("the agent after it: %.1f MB of its own" % memory_megabytes(agent)[0])
    return code


if __name__ == "__main__":
    sys.exit(main())
