# SPDX-License-Identifier: Apache-2.0
"""Writes that the database has refused, and the answer to them."""

import contextlib
import html
import json

from .mode import current, state

# read_only_sql_transaction: what Sluice's fence, a read-only transaction and a replica say.
READ_ONLY = "25006"
# insufficient_privilege: what a sequence says behind the fence. A mistake of the application's at any other time.
NO_PRIVILEGE = "42501"


def is_refused(error):
    """Whether an error, or one that it came from, is a write that the database refused because it is read-only."""
    codes = {READ_ONLY, NO_PRIVILEGE} if state().read_only else {READ_ONLY}
    seen, left = set(), [error]
    while left:
        one = left.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        # psycopg 3 and asyncpg; psycopg2; SQLAlchemy keeps the driver's error in `orig`.
        if getattr(one, "sqlstate", None) in codes or getattr(one, "pgcode", None) in codes:
            return True
        left += [getattr(one, name, None) for name in ("__cause__", "__context__", "orig")]
    return False


def note(error):
    """Remembers for the request under way that the database refused a write. Returns whether it did."""
    refused = is_refused(error)
    if refused and current.get() is not None:
        current.get().refused = True
    return refused


def is_ours_to_answer(state, status, has_retry_after):
    """Whether an answer with this status hides a refused write: an error, and not one that says when to come again."""
    return state.refused and status >= 400 and not (status == 503 and has_retry_after)


PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Read-only for the moment</title>
</head>
<body>
<main>
<h1>Read-only for the moment</h1>
<p>%s</p>
<p>What you sent has not been saved. Go back, and send it again in a moment.</p>
</main>
</body>
</html>
"""


def answer(state, accept):
    """The 503 for a refused write: headers and body, in the words that the client asks for as the gate has them."""
    accept = (accept or "").lower()
    if "text/html" in accept:
        kind, body = "text/html; charset=utf-8", PAGE % html.escape(state.message)
    elif "json" in accept:
        kind = "application/json"
        body = json.dumps({"error": "read-only", "message": state.message, "retryAfter": state.retry_after}) + "\n"
    else:
        kind, body = "text/plain; charset=utf-8", state.message + "\n"
    # Half a character, which JSON may have, is no reason to fail.
    body = body.encode("utf-8", "replace")
    headers = [
        ("Content-Type", kind), ("Content-Length", str(len(body))), ("Retry-After", str(state.retry_after)),
        ("Cache-Control", "no-store"), ("Vary", "Accept"), ("X-Sluice-Refused", "database")]
    return headers, body


@contextlib.contextmanager
def courtesy():
    """Around a write that nobody would miss: that it was refused is forgotten, and no business of the answer."""
    state = current.get()
    was_refused = state is not None and state.refused
    try:
        yield
    except Exception as error:
        if not is_refused(error):
            raise
        if state is not None:
            state.refused = was_refused
