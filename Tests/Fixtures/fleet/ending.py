# SPDX-License-Identifier: Apache-2.0
"""How each program of this directory ends: what it claims, as a table and with `--json` as one object, and an exit code."""

import subprocess
import sys

import checker
from fleet import interrupt_on_signals


def sayer(as_json):
    """What prints a line; to standard error where the one object is all that stands on the standard output."""
    return lambda text="": print(text, file=sys.stderr if as_json else sys.stdout, flush=True)


def tell(name, as_json, claims_of):
    """Prints what `claims_of(say)` returns, and returns the exit code: 0 when everything is as it should be."""
    interrupt_on_signals()
    say = sayer(as_json)
    try:
        claims = claims_of(say)
    except KeyboardInterrupt:
        return 130
    except (RuntimeError, TimeoutError, OSError, subprocess.SubprocessError) as error:
        print("%s: %s" % (name, error), file=sys.stderr)
        return 1
    say()
    good = checker.print_table(claims, say)
    if as_json:
        checker.print_json(claims, good)
    say("\n%s" % ("Everything is as it should be." if good else "NOT everything is as it should be."))
    return 0 if good else 1
