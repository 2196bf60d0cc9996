# SPDX-License-Identifier: Apache-2.0
"""What `sluice` advises about its own connection to the coordinator is done to the letter, and then its command is answered."""

import contextlib
import os
import subprocess

from checker import Claim
from ports import COORDINATOR, Ports
from processes import wait_until

# A name that only its certificate knows; every name below `localhost` is this machine (RFC 6761).
NAMED = "coordinator.localhost"


class Trouble:
    """A command that is wrong, words of what it says, and what a person who reads them writes next."""

    def __init__(self, name, words, says, then):
        self.name, self.words, self.says, self.then = name, words, says, then


class Coordinators:
    """One that speaks plain HTTP and one that speaks TLS, on one store."""

    def __init__(self, fleet):
        self.fleet, self.folder = fleet, fleet.directory / "connections"
        self.folder.mkdir()
        self.authority = self.folder / "tls.pem"
        ports = Ports()
        self.port, self.silent = ports.take(), ports.take()
        self.encrypted = "https://%s:%d" % (NAMED, self.port)

    def environment(self):
        """What a person has who has just logged in: nothing of Sluice's."""
        return {name: value for name, value in os.environ.items() if not name.startswith("SLUICE_")}

    def sluice(self, *words):
        ended = subprocess.run(
            [self.fleet.binaries / "sluice", *map(str, words)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, env=self.environment(), cwd=self.folder, timeout=60)
        return ended.returncode, " ".join(ended.stdout.split())

    @contextlib.contextmanager
    def running(self):
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
             "-subj", "/CN=" + NAMED, "-addext", "subjectAltName=DNS:" + NAMED, "-keyout", self.folder / "key.pem",
             "-out", self.authority], check=True, stderr=subprocess.DEVNULL)
        # A store has one coordinator, so this one has its own.
        data = self.folder / "data"
        token = self.token(data, "token")
        process = self.fleet.processes.start(
            "coordinator with TLS",
            [self.fleet.binaries / "sluice", "coordinator", "--data", data, "--listen", "%s:%d" % (COORDINATOR, self.port),
             "--tls-certificate", self.authority, "--tls-key", self.folder / "key.pem"], self.folder / "log")
        options = ["--coordinator", self.encrypted, "--ca-file", self.authority, "--token-file", token]
        wait_until("the coordinator with TLS answers (log: %s)" % (self.folder / "log"),
                   lambda: self.sluice("status", *options)[0] == 0, alive=process)
        try:
            yield options
        finally:
            self.fleet.processes.kill("coordinator with TLS")

    def token(self, data, name):
        """The advised command as it stands, on the coordinator's machine, for its store; a file for --token-file."""
        path = self.folder / name
        path.touch(mode=0o600)
        with path.open("w") as file:
            subprocess.run([self.fleet.binaries / "sluice", "token", "create", "--data", data, "--operator", "newcomer"],
                           check=True, stdout=file, stderr=subprocess.DEVNULL, timeout=60)
        return path

    def troubles(self, options):
        plain, token = self.fleet.coordinator_url, options[4:]
        numeric = "https://%s:%d" % (COORDINATOR, self.port)
        nobody = "http://%s:%d" % (COORDINATOR, self.silent)
        theirs = ["--token-file", self.token(self.fleet.data, "new-token")]
        return [
            Trouble("nobody listens", ["--coordinator", nobody, *theirs], "Say where it is with --coordinator",
                    ["--coordinator", plain, *theirs]),
            Trouble("no token", ["--coordinator", plain], "`sluice token create --operator NAME`",
                    ["--coordinator", plain, *theirs]),
            Trouble("another coordinator's token", ["--coordinator", plain, *token], "`sluice token create --operator NAME`",
                    ["--coordinator", plain, *theirs]),
            Trouble("an authority that is not known", ["--coordinator", self.encrypted, *token],
                    "give the coordinator's authority with --ca-file", options),
            Trouble("another name than the certificate's", ["--coordinator", numeric, *options[2:]],
                    "call it by the name in its certificate", options),
            Trouble("TLS to one that speaks plain HTTP", ["--coordinator", plain.replace("http:", "https:"), *theirs],
                    "without TLS its address begins with http://", ["--coordinator", plain, *theirs]),
            Trouble("plain HTTP to one that speaks TLS", ["--coordinator", numeric.replace("https:", "http:"), *options[2:]],
                    "with TLS its address begins with https://", options),
            Trouble("plain HTTP to another machine", ["--coordinator", self.encrypted.replace("https:", "http:"), *options[2:]],
                    "write https:// in --coordinator", options),
            Trouble("plain HTTP in a network that is trusted",
                    ["--coordinator", plain.replace(COORDINATOR, NAMED), *theirs], "add --allow-plain-http",
                    ["--coordinator", plain.replace(COORDINATOR, NAMED), *theirs, "--allow-plain-http"]),
            Trouble("an authority's file that is not there", [*options[:2], "--ca-file", self.folder / "none.pem", *token],
                    "give a file of certificates", options)]


def claims(fleet, say):
    coordinators = Coordinators(fleet)
    say("\nconnections: %s" % __doc__)
    found = []
    with coordinators.running() as options:
        for trouble in coordinators.troubles(options):
            code, said = coordinators.sluice("status", *trouble.words)
            say("  %s: %s" % (trouble.name, said))
            then, answer = coordinators.sluice("status", *trouble.then)
            good = code != 0 and trouble.says in said and then == 0
            found.append(Claim("connection, %s: what is advised leads on" % trouble.name, "exit codes %d, %d" % (code, then),
                               trouble.says, good, [said, answer]))
    return found
