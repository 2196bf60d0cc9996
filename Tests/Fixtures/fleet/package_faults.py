# SPDX-License-Identifier: Apache-2.0
"""What goes wrong in the upgrade of an application of somebody else's, and how it has to end; for `package_demo.py --fail NAME`."""

import os
import pathlib
import shutil
import signal
import subprocess

from checker import Claim
from faults import DONE, ROLLED_BACK, Fault, restart_agent, restart_coordinator
from processes import wait_until


class Changed(Fault):
    """The new release with other files; the rest of its hundreds of megabytes are links."""

    def changes(self, fleet):
        """Paths in the bundle and what is there instead; nothing: the file is left out."""
        return {}

    def prepare(self, fleet):
        bundle = fleet.bundle(fleet.site.new)
        copy = fleet.plans / self.__class__.__name__
        subprocess.run(["cp", "-al", bundle, copy], check=True)
        for path, text in self.changes(fleet).items():
            mode = (copy / path).stat().st_mode
            (copy / path).unlink()
            for compiled in (copy / path).parent.glob("__pycache__/%s.*" % (copy / path).stem):
                compiled.unlink()
            if text is not None:
                (copy / path).write_text(text)
                (copy / path).chmod(mode)
        self.copy = copy
        return fleet.variant(copy.name, replace=[(str(bundle), str(copy))])

    def remove(self, fleet):
        shutil.rmtree(self.copy)


class NoWayBack(Changed):
    text = "three of the new revisions cannot be taken back, and the release brings nothing for it"
    codes = (ROLLED_BACK,)

    def changes(self, fleet):
        return {"sluice-down/%s" % path.name: None for path in (fleet.bundle(fleet.site.new) / "sluice-down").iterdir()}

    def claims(self, fleet, journal):
        said = "\n".join(journal.reasons())
        began = journal.step("nodes:closed")
        return [Claim("  said before the window, with the way out", "%s, window %s" % ("sluice-down/REVISION.sql" in said, "begun" if began else "not begun"),
                      "True, not begun", "sluice-down/REVISION.sql" in said and not began, [said])]


class DeadRelease(Changed):
    text = "the new release does not start, on the migrated schema"
    codes = (ROLLED_BACK,)
    # What starts it.
    program = "bin/serve"

    def changes(self, fleet):
        return {self.program: "#!/bin/sh\necho 'no such option' >&2\nexit 3\n"}

    def claims(self, fleet, journal):
        said = "\n".join(journal.reasons())
        return [Claim("  what the release said stands in the reason", str("no such option" in said), "True", "no such option" in said, [said])]


class DeadRedmine(DeadRelease):
    program = "bin/puma"


class FailingHook(Fault):
    text = "an action after the migration fails on web-2"
    codes = (ROLLED_BACK,)

    def prepare(self, fleet):
        (fleet.nodes[1].faults / "smoke-test").touch()
        return fleet.variant("hook", append="\nhooks:\n  - {after: migrate, run: smoke-test, where: every-node}\n")

    def remove(self, fleet):
        (fleet.nodes[1].faults / "smoke-test").unlink()


class Killed(Changed):
    """The tool says in the middle of its revisions which process it is, and waits; then somebody is killed.

    MLflow's are one transaction: a tool that is killed has done nothing.
    """

    codes = (ROLLED_BACK,)
    waits = 60
    killed = False

    def changes(self, fleet):
        self.mark = fleet.directory / ("waits-%s" % self.__class__.__name__)
        bundle = fleet.bundle(fleet.site.new)
        place, old, new = fleet.site.slow
        [path] = bundle.glob(place)
        text = path.read_text().replace(old, new % {"mark": str(self.mark), "waits": self.waits}, 1)
        return {str(path.relative_to(bundle)): text}

    def on_fact(self, fleet, body):
        if body["type"] == "step-began" and body["step"] == "nodes:tool" and not self.killed:
            self.killed = True
            # It imports the application before it does anything.
            wait_until("the tool waits", self.mark.exists, deadline=180.0)
            self.kill(fleet, int(self.mark.read_text()))

    def kill(self, fleet, process):
        raise NotImplementedError


class KilledTool(Killed):
    text = "kill -9 of the tool in the middle of its revisions"

    def kill(self, fleet, process):
        os.kill(process, signal.SIGKILL)


class KilledAgentAndTool(Killed):
    """Nobody has seen the tool's end."""

    text = "kill -9 of the agent of the tool's node and of the tool"
    # Those that an agent held are refused politely: nginx finds the flag and answers in its place.
    writes = "either"

    def kill(self, fleet, process):
        restart_agent(fleet, fleet.nodes[0], lambda: os.kill(process, signal.SIGKILL))


class KilledAgent(Killed):
    """The tool goes on without its agent and ends well; the next agent finds that out."""

    text = "kill -9 of the agent of the tool's node while the tool runs"
    codes = (DONE,)
    waits = 8
    writes = "either"

    def kill(self, fleet, process):
        restart_agent(fleet, fleet.nodes[0])


class KilledCoordinator(Killed):
    text = "kill -9 of the coordinator while the tool runs"
    codes = (DONE,)
    waits = 8

    def kill(self, fleet, process):
        restart_coordinator(fleet)


class KilledCoordinatorAndAgent(KilledAgent):
    text = "kill -9 of the coordinator, and then of the agent of the tool's node, while the tool runs"
    waits = 15

    def kill(self, fleet, process):
        restart_coordinator(fleet)
        restart_agent(fleet, fleet.nodes[0])


class KilledRedmineTool(KilledTool):
    """Each migration is a transaction: what came before is there, and the tool is run again."""

    codes = (DONE,)
    tool_runs_once = False


class KilledRedmineAgentAndTool(KilledAgentAndTool):
    codes = (DONE,)
    tool_runs_once = False


# By the package's name and their own: before the upgrade, and in it.
FAULTS = {
    "mlflow": {"way-back": NoWayBack, "start": DeadRelease, "migrate": FailingHook, "tool": KilledTool, "agent-and-tool": KilledAgentAndTool},
    "redmine": {"start": DeadRedmine, "migrate": FailingHook}}
MISHAPS = {
    "mlflow": {"agent": KilledAgent, "coordinator": KilledCoordinator, "coordinator-and-agent": KilledCoordinatorAndAgent},
    "redmine": {"agent": KilledAgent, "coordinator": KilledCoordinator, "coordinator-and-agent": KilledCoordinatorAndAgent,
                "agent-and-tool": KilledRedmineAgentAndTool, "tool": KilledRedmineTool}}
