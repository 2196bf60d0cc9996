# SPDX-License-Identifier: Apache-2.0
"""The mode that Sluice has put this application into, for code: `flags.read_only`.

In a request the mode is what the proxy said with it (`X-Sluice-Mode`); elsewhere, in workers and scripts, what the agent's
`mode.json` says. Without either an application is in its normal mode. See docs/adapters.md.
"""

import functools

from .mode import State, state
from .refused import courtesy, is_refused, note
from .waiting import StillReadOnly, wait

__all__ = ["flags", "courtesy", "is_refused", "note", "unless_read_only", "wait", "State", "StillReadOnly"]


class _Flags:
    """As `frappe.flags`: looked at where it matters, never kept."""

    @property
    def read_only(self):
        return state().read_only


flags = _Flags()


def unless_read_only(function):
    """For a write that a reader would not miss (a counter, "last seen"): left out while read-only, and returns None then.

    Also when the database refuses it, which happens to a request that came just before the window. In a transaction that has
    to go on, give the write a savepoint of its own (Django: `sluice_mode.django.unless_read_only` does).
    """
    @functools.wraps(function)
    def unless(*values, **names):
        if flags.read_only:
            return None
        with courtesy():
            return function(*values, **names)
    return unless
