# SPDX-License-Identifier: Apache-2.0
"""Where the mode comes from: the proxy's header, or the agent's file."""

import contextvars
import dataclasses
import json
import os
import stat

HEADER = "X-Sluice-Mode"
USUAL_MESSAGE = "Read-only for the moment. Please try again shortly."
USUAL_RETRY_AFTER = 5
# A day: what is longer is no time to come again.
LONGEST_RETRY_AFTER = 86_400


@dataclasses.dataclass
class State:
    """What one request or one look at the file is to know."""

    read_only: bool = False
    # Seconds.
    retry_after: int = USUAL_RETRY_AFTER
    message: str = USUAL_MESSAGE
    # Whether the database has refused a write of this request: whatever the application makes of it, it is no fault of the client.
    refused: bool = False


# Of the request that is under way. A copy of the context, in a thread or task of the request, has the same State.
current = contextvars.ContextVar("sluice_mode", default=None)


def state():
    return current.get() or of_file()


def path():
    return os.environ.get("SLUICE_MODE_FILE", "/run/sluice/mode.json")


def of_file():
    """The agent's `mode.json`. No file: normal. A file that is there and cannot be understood: read-only, as the agent takes it."""
    text = _text()
    if text is None:
        return State()
    try:
        mode = json.loads(text)
        after = max(1, int(mode.get("retryAfterSeconds") or USUAL_RETRY_AFTER))
        return State(
            read_only=bool(mode["readOnly"]), retry_after=min(after, LONGEST_RETRY_AFTER),
            message=str(mode.get("message") or USUAL_MESSAGE))
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
        return State(read_only=True)


def _text():
    """What the file says, or None where none can be read. Waits for nobody: a pipe or a directory in its place is no file of the agent's."""
    try:
        descriptor = os.open(path(), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError):
        return None
    try:
        return os.read(descriptor, 65536) if stat.S_ISREG(os.fstat(descriptor).st_mode) else None
    except OSError:
        return None
    finally:
        os.close(descriptor)


def of_request(header):
    """The header decides where the proxy sends it; the words are the file's where there is one."""
    found = of_file()
    if header is not None and header in ("read-only", "normal"):
        found.read_only = header == "read-only"
    return found
