# SPDX-License-Identifier: Apache-2.0
"""python3 -m sluice_mode [--at-most SECONDS] COMMAND...: waits until writes are open, then becomes the command.

Exit status 75 ("try again later") when they are still closed after SECONDS; 127 when there is no such command. For cron.
"""

import argparse
import os
import sys

from .waiting import StillReadOnly, wait


def main():
    parser = argparse.ArgumentParser(prog="python3 -m sluice_mode", description=__doc__.split("\n\n", 1)[0])
    parser.add_argument("--at-most", type=float, metavar="SECONDS")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    given = parser.parse_args()
    if not given.command:
        parser.error("which command?")
    try:
        wait(given.at_most)
    except StillReadOnly as error:
        print("sluice_mode: %s; not begun: %s" % (error, given.command[0]), file=sys.stderr)
        return 75
    try:
        os.execvp(given.command[0], given.command)
    except OSError as error:
        print("sluice_mode: %s: %s" % (given.command[0], error.strerror), file=sys.stderr)
        return 127


sys.exit(main())
