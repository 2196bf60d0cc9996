# SPDX-License-Identifier: Apache-2.0
"""Where a site's write window went: its migration, what of that is the tool's own start, the slowest start of the release, and the rest."""

import os
import subprocess
import time

from node import REPOSITORY


def lines(fleet, journal, own):
    """`own`: what `own_start` has said before the run; nothing where SQL files migrate."""
    window, migration = journal.write_window(), journal.migration_time()
    if window is None:
        return []
    starts = {node.name: node.start_took("v2") for node in fleet.nodes}
    known = [seconds for seconds in starts.values() if seconds is not None]
    slowest = max(known, default=0.0) if journal.step("nodes:started") else 0.0
    said = ["The write window: %d ms, of them" % ms(window),
            "  %6d ms  migration%s" % (ms(migration), "" if own is None else ", by the site's own tool on %s's clock" % fleet.nodes[0].name)]
    if own is not None:
        said.append("          (the tool takes %d ms where nothing is to be done, which is its own start)" % ms(own))
    said.append("  %6d ms  slowest start of v2, from its action until it answers%s" % (
        ms(slowest), "" if slowest else ": none in the window"))
    said.append("  %6d ms  the rest" % ms(window - migration - slowest))
    return said + ["starts of v2, wherever they lay: " + ", ".join(
        "%s %s" % (name, "not seen" if seconds is None else "%d ms" % ms(seconds)) for name, seconds in starts.items())]


def own_start(fleet):
    """Seconds that the old release's tool takes before the upgrade, beside the same clients: it finds nothing to do."""
    node = fleet.nodes[0]
    lines_of_environment = [line.partition("=") for line in (node.app / "shared" / ".env").read_text().splitlines()]
    environment = {**os.environ, **{name: value for name, _, value in lines_of_environment}, "RAILS_ENV": "production"}
    began = time.monotonic()
    subprocess.run(
        [REPOSITORY / "agents" / "migrate" / fleet.site.kind, "forward", (node.app / "current" / "files").resolve()],
        env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.monotonic() - began


def ms(seconds):
    return round(seconds * 1000)
