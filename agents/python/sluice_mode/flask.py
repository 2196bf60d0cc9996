# SPDX-License-Identifier: Apache-2.0
"""For Flask: `Sluice(app)`, or `sluice = Sluice()` and `sluice.init_app(app)`."""

from flask import Response
from flask.sessions import SecureCookieSessionInterface

from . import flags, wsgi
from .refused import courtesy, note


class Sluice:
    """`read_only_mode` for templates, 503 for refused writes, and sessions on the server that are not saved while read-only.

    The 503 comes before an error handler of the application makes a 400 or 500 of it; an answer of its own that is a 503 with
    `Retry-After` stays, and so does one that is no error.
    """

    def __init__(self, app=None):
        if app is not None:
            self.init_app(app)

    def init_app(self, app):
        app.wsgi_app = wsgi.Middleware(app.wsgi_app)
        app.context_processor(lambda: {"read_only_mode": flags.read_only})
        app.handle_user_exception = _noting(app.handle_user_exception)
        app.handle_exception = _unless_refused(app.handle_exception)
        if not isinstance(app.session_interface, SecureCookieSessionInterface):
            app.session_interface = SessionsUnlessReadOnly(app.session_interface)


def _noting(handle):
    def noting(error):
        note(error)
        return handle(error)
    return noting


def _unless_refused(handle):
    """No report and no line in the log: it is no error of the application. The middleware has the words."""
    def unless_refused(error):
        return Response(status=503) if note(error) else handle(error)
    return unless_refused


class SessionsUnlessReadOnly:
    """Around a session interface that writes to the database: nothing is saved while read-only. A signed cookie needs it not."""

    def __init__(self, interface):
        self._interface = interface

    def __getattr__(self, name):
        return getattr(self._interface, name)

    def save_session(self, app, session, response):
        if flags.read_only:
            return
        # Refused: a request that came before the window and ends in it.
        with courtesy():
            self._interface.save_session(app, session, response)
