# SPDX-License-Identifier: Apache-2.0
"""What the gate costs HAProxy for each read: processor time of one thread with it and without it, in turns, for figures.

    haproxy_cost.py [--rounds 20] [--requests 2000]
"""

import argparse
import pathlib
import signal
import socket
import statistics
import subprocess
import tempfile
import time

from fleet import interrupt_on_signals
from node import REPOSITORY
from processes import processor_seconds

SHIPPED = REPOSITORY / "agents" / "haproxy"
RECORD = "sluice-activation 1\ngeneration 7\nrelease v2\nmanifest %s\n" % ("0123456789abcdef" * 4)
SITE = """
frontend gated from sluice
    bind unix@{here}/gated.sock
    default_backend application

frontend bare from site
    bind unix@{here}/bare.sock
    default_backend application

backend application from site
    option http-server-close
    http-reuse never
    server app unix@{here}/app.sock
"""
APPLICATION = """
global
    maxconn 200

defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s

frontend app
    bind unix@{here}/app.sock
    http-request return status 200 content-type text/plain string answer
"""
REQUEST = b"GET /page HTTP/1.1\r\nHost: site\r\nAccept: text/html\r\nCookie: theme=dark\r\n\r\n"


def configure(here):
    (here / "run").mkdir()
    (here / "srv" / "current").mkdir(parents=True)
    (here / "srv" / "current" / "release").write_text(RECORD)
    gate = (SHIPPED / "sluice.cfg").read_text()
    for old, new in (("/run/sluice", here / "run"), ("/etc/haproxy/sluice", SHIPPED), ("/srv/guestbook", here / "srv")):
        gate = gate.replace(old, str(new))
    own = APPLICATION[:APPLICATION.index("frontend")].replace("maxconn 200", "maxconn 200\n    nbthread 1").replace("defaults", "defaults site")
    (here / "site.cfg").write_text(own + gate + SITE.format(here=here))
    (here / "app.cfg").write_text(APPLICATION.format(here=here))


def ask(path, count):
    """So many requests on one connection, each answered before the next."""
    with socket.socket(socket.AF_UNIX) as one:
        one.settimeout(30)
        one.connect(str(path))
        for _ in range(count):
            one.sendall(REQUEST)
            answer = b""
            while not answer.endswith(b"answer"):
                more = one.recv(4096)
                if not more:
                    raise RuntimeError("%s: %r" % (path, answer))
                answer += more
            if not answer.startswith(b"HTTP/1.1 200"):
                raise RuntimeError("%s: %r" % (path, answer))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--requests", type=int, default=2000)
    arguments = parser.parse_args()
    interrupt_on_signals()
    with tempfile.TemporaryDirectory(prefix="sluice-haproxy.") as folder:
        here = pathlib.Path(folder)
        configure(here)
        running = [subprocess.Popen(["/usr/sbin/haproxy", "-db", "-f", here / name], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                   for name in ("app.cfg", "site.cfg")]
        try:
            deadline = time.monotonic() + 20
            while not all((here / name).exists() for name in ("app.sock", "gated.sock", "bare.sock")):
                if time.monotonic() > deadline or any(each.poll() is not None for each in running):
                    raise RuntimeError("HAProxy did not start")
                time.sleep(0.05)
            spent = {"bare": [], "gated": []}
            for turn in range(arguments.rounds + 1):
                for name in spent:
                    before = processor_seconds(running[1].pid)
                    ask(here / (name + ".sock"), arguments.requests)
                    # The first round is for whatever is done once.
                    if turn:
                        spent[name].append((processor_seconds(running[1].pid) - before) / arguments.requests * 1e6)
        finally:
            for each in running:
                each.send_signal(signal.SIGTERM)
                each.wait()
    bare, gated = (statistics.median(spent[name]) for name in ("bare", "gated"))
    print("processor time of HAProxy for one read, %d rounds of %d: without the gate %.1f µs, with it %.1f µs (%.1f to %.1f): %.2f times, %.1f µs more" % (
        arguments.rounds, arguments.requests, bare, gated, min(spent["gated"]), max(spent["gated"]), gated / bare, gated - bare))


if __name__ == "__main__":
    main()
