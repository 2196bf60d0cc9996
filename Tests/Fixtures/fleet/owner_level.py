# SPDX-License-Identifier: Apache-2.0
"""A migrator that is no superuser: what its fence does not hold is named before, accepted by name, and named again after."""

import re

from checker import Claim
from faults import REFUSED, Fault

SAID = "the fence is one of level owner; the plan accepts that it does not hold: "


def words(plan):
    """What a plan has to accept in these fleets: their applications own tables, or somebody who logs in belongs to the owner."""
    return ["definitions", "large-objects", *(["definer-functions"] if "renew-pool" in plan else []),
            *(["sequences"] if "migrate_with:" in plan else [])]


def ask_for(plan, append):
    """A plan for a migrator that is no superuser, without what is appended to it."""
    text, found = re.subn(
        r"(?m)^(  url: env:\w+\n)", r"\1  fence: owner\n  accepts: [%s]\n" % ", ".join(words(plan + append)), plan)
    if found != 1:
        raise ValueError("the example plan has no database")
    return text


class NothingAccepted(Fault):
    text = "the migrator is no superuser, and the plan accepts nothing of what its fence cannot hold"
    codes = (REFUSED,)

    def prepare(self, fleet):
        plan = super().prepare(fleet)
        self.wanted = words(plan.read_text())
        plan.write_text(re.sub(r"  accepts: .*\n", "", plan.read_text()))
        return plan

    def claims(self, fleet, journal):
        findings = [finding for fact in journal.facts if fact.type == "database-task-ended"
                    for finding in fact.body.get("failure", {}).get("findings", []) if finding["severity"] == "error"]
        found = sorted({finding["code"] for finding in findings})
        mute = [finding["message"] for finding in findings
                if "let the plan accept it: database: {accepts: [%s]}" % finding["code"] not in finding.get("advice", "")]
        return [
            Claim("  what preflight names", ", ".join(found), ", ".join(self.wanted), found == sorted(self.wanted),
                  [finding["message"] for finding in findings]),
            Claim("  findings that do not say how the plan accepts them", str(len(mute)), "0", not mute, mute)]


def claims(journal, plan):
    """Of a run that is done: the reports of preflight and of the lift name what was accepted."""
    wanted = words(plan)
    preflight, lift = journal.task("preflight"), journal.task("lowerFence")
    if preflight is None or lift is None:
        return []
    found = sorted({warning["code"] for warning in preflight[2].get("warnings", [])
                    if warning["message"].startswith("not held, as the plan accepts: ")})
    silent = [name for name, task in [("preflight", preflight), ("the lift", lift)]
              if SAID + ", ".join(wanted) not in task[2].get("lines", [])]
    return [
        Claim("what the fence does not hold, by preflight", ", ".join(found), ", ".join(wanted), found == sorted(wanted)),
        Claim("reports that do not repeat it", ", ".join(silent) or "none", "none", not silent,
              preflight[2].get("lines", []) + lift[2].get("lines", []))]
