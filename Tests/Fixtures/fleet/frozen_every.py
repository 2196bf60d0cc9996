# SPDX-License-Identifier: Apache-2.0
"""scripts/demo --frozen --kill every: whoever can be killed, wherever, in one sitting. A fleet for each, a line for each."""

import subprocess

from checker import Claim
from frozen_faults import killing

# What of a fleet's claims stands in its line, by how the claim begins.
COLUMNS = [("", "how it ended"), ("reads failed", "reads failed through"), ("writes lost", "acknowledged writes lost"),
           ("two writers", "writes that the old primary took"), ("it", "was killed")]


def kill_each(demo, pairs):
    """A line of a table as soon as it is known, and the claims: one for each pair of a victim and a place, with what fell in it."""
    claims = []
    for victim, place in pairs:
        claim = kill(demo, victim, place)
        demo.say("\n| %s | %s | %s | %s |\n" % (victim, place, claim.measured, claim.word))
        claims.append(claim)
    return claims


def kill(demo, victim, place):
    name = "%s at %s" % (victim, place)
    arguments = demo.arguments
    try:
        claims = demo.fail(killing(victim, place, arguments.after, arguments.away))
    except (RuntimeError, TimeoutError, OSError, subprocess.SubprocessError) as error:
        return Claim(name, "; ".join(str(error).split("\n")), "judged", False)
    fallen = [claim for claim in claims if not claim.holds and not claim.is_speed]
    details = [line for claim in fallen for line in ["%s: %s (target %s)" % (claim.text, claim.measured, claim.target), *claim.details]]
    return Claim(name, " | ".join(figure(claims, words, beginning) for words, beginning in COLUMNS), "all of it", not fallen, details)


def figure(claims, words, beginning):
    found = [claim.measured for claim in claims if beginning in claim.text]
    return ("%s %s" % (words, found[0].split(" (")[0] if found else "not known")).strip()
