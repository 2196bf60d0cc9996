# SPDX-License-Identifier: Apache-2.0
"""Waiting until an upgrade is over, for what has time: jobs, cron."""

import time

from .mode import of_file


class StillReadOnly(Exception):
    """The application was read-only for longer than one wanted to wait."""


def wait(at_most=None, look_every=1.0):
    """Returns once `mode.json` says that writes are open.

    - at_most: seconds, or None for as long as it takes; after them StillReadOnly is raised.
    """
    began = time.monotonic()
    while of_file().read_only:
        if at_most is not None and time.monotonic() - began >= at_most:
            raise StillReadOnly("still read-only after %g s" % at_most)
        time.sleep(look_every)
