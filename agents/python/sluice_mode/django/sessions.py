# SPDX-License-Identifier: Apache-2.0
"""A session engine that does not write while read-only, around the one that SLUICE_SESSION_ENGINE names.

Default: django.contrib.sessions.backends.db. Readers who are logged in stay so. What a view puts into the session in the
window is forgotten; whoever logs out loses the cookie at once, and the row when it expires.
"""

import importlib

from django.conf import settings

from .. import flags
from ..refused import courtesy

_engine = importlib.import_module(getattr(settings, "SLUICE_SESSION_ENGINE", "django.contrib.sessions.backends.db"))


class SessionStore(_engine.SessionStore):
    """A refusal that comes all the same is that of a request from before the window; Django would answer 400 (SessionInterrupted)."""

    def save(self, must_create=False):
        if not flags.read_only:
            with courtesy():
                super().save(must_create=must_create)
        self._give_key()

    def create(self):
        if flags.read_only:
            self._session_key = self._get_new_session_key()
            self.modified = True
            return
        with courtesy():
            super().create()
        self._give_key()

    def cycle_key(self):
        # What a login puts into the session is not saved either, so its old key gives nothing away.
        if not flags.read_only:
            super().cycle_key()

    def delete(self, session_key=None):
        if not flags.read_only:
            with courtesy():
                super().delete(session_key)

    # Since Django 5.1; earlier versions never call these.

    async def asave(self, must_create=False):
        if not flags.read_only:
            with courtesy():
                await super().asave(must_create=must_create)
        self._give_key()

    async def acreate(self):
        if flags.read_only:
            return self.create()
        with courtesy():
            await super().acreate()
        self._give_key()

    async def acycle_key(self):
        if not flags.read_only:
            await super().acycle_key()

    async def adelete(self, session_key=None):
        if not flags.read_only:
            with courtesy():
                await super().adelete(session_key)

    def _give_key(self):
        """The cookie wants a key. One that was never saved leads to nothing, and the next request makes a new session."""
        if not self.session_key:
            self._session_key = self._get_new_session_key()
