# SPDX-License-Identifier: Apache-2.0
"""For Django 3.2 and later. In settings.py:

    MIDDLEWARE = ["sluice_mode.django.Middleware", …]                   # the first
    TEMPLATES[0]["OPTIONS"]["context_processors"] += ["sluice_mode.django.read_only_mode"]
    SESSION_ENGINE = "sluice_mode.django.sessions"                      # where sessions are in the database
"""

import functools

from .. import flags
from ..refused import courtesy

__all__ = ["Middleware", "read_only_mode", "unless_read_only"]


def read_only_mode(request):
    """The context processor."""
    return {"read_only_mode": flags.read_only}


def unless_read_only(function):
    """As `sluice_mode.unless_read_only`, with a savepoint, so that the view's own transaction can go on."""
    @functools.wraps(function)
    def unless(*values, **names):
        from django.db import transaction
        if flags.read_only:
            return None
        with courtesy(), transaction.atomic():
            return function(*values, **names)
    return unless


def __getattr__(name):
    # Settings name this module before Django is ready for what the middleware needs.
    if name == "Middleware":
        from .middleware import Middleware
        return Middleware
    raise AttributeError(name)
