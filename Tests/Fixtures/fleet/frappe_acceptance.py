# SPDX-License-Identifier: Apache-2.0
"""scripts/acceptance-frappe: the upgrade of frappe_demo.py with the code of two benches that somebody has, on a new site of its own.

The benches are read and copied. A private PostgreSQL, Redis, nginx and three nodes on loopback; nothing of the system is used or changed.
"""

import argparse
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

from fleet import interrupt_on_signals
from node import FIXTURES

HERE = pathlib.Path(__file__).resolve().parent
# Three nodes have two releases each, beside what is copied first.
COPIES = 8
LEFT_OUT = shutil.ignore_patterns(".git", "node_modules", "__pycache__", "*.pyc")


class Bench:
    """What is asked of a bench, and what is copied of it."""

    def __init__(self, home):
        self.home = pathlib.Path(home).resolve()
        self.apps, self.sites = self.home / "apps", self.home / "sites"
        module = self.apps / "frappe" / "frappe" / "__init__.py"
        found = re.search(r"^__version__\s*=\s*[\"']([^\"']+)[\"']", module.read_text(), re.M) if module.is_file() else None
        self.version = found.group(1) if found else None
        self.packages = next(iter(sorted((self.home / "env" / "lib").glob("python3*/site-packages"))), None)

    def problems(self):
        if self.version is None:
            yield "%s is no bench: it has no apps/frappe/frappe/__init__.py with a __version__" % self.home
            return
        if not (self.sites / "apps.txt").is_file():
            yield "%s has no sites/apps.txt" % self.home
        if not (self.sites / "assets" / "assets.json").is_file():
            yield "%s has no built assets (sites/assets/assets.json): run `bench build` there" % self.home
        wanted = self.packages.parent.name.removeprefix("python") if self.packages else None
        here = "%d.%d" % sys.version_info[:2]
        if wanted not in (None, here):
            yield "%s was installed with Python %s, and /usr/bin/python3 is %s: its packages need exactly that version" % (self.home, wanted, here)
        path = os.pathsep.join([str(self.packages)] if self.packages else [])
        for name in ("gunicorn", "psycopg2"):
            asked = subprocess.run([sys.executable, "-c", "import " + name], env={**os.environ, "PYTHONPATH": path}, stderr=subprocess.DEVNULL)
            if asked.returncode != 0:
                yield "%s has no %s: install it into its env" % (self.home, name)

    def sites_of(self):
        """Its sites and their databases, for people: none of them is used."""
        for path in sorted(self.sites.glob("*/site_config.json")):
            try:
                kind = json.loads(path.read_text()).get("db_type", "mariadb")
            except (OSError, ValueError):
                kind = "a database that its configuration does not tell"
            yield path.parent.name, kind

    def size(self):
        parts = [self.apps, self.sites / "assets", *([self.packages] if self.packages else [])]
        return sum(file.stat().st_size for part in parts for file in part.rglob("*") if file.is_file())

    def copy(self, bundle):
        """A release as docs/frappe.md has it: no virtual environment, no links, no site."""
        shutil.copytree(self.apps, bundle / "apps", ignore=LEFT_OUT, ignore_dangling_symlinks=True)
        if self.packages:
            shutil.copytree(self.packages, bundle / "site-packages", ignore=LEFT_OUT, ignore_dangling_symlinks=True)
        (bundle / "sites").mkdir()
        shutil.copy2(self.sites / "apps.txt", bundle / "sites")
        shutil.copytree(self.sites / "assets", bundle / "sites" / "assets", ignore=LEFT_OUT, ignore_dangling_symlinks=True)
        (bundle / "sites" / "common_site_config.json").write_text("{}\n")


def look(benches):
    """What is missing, each with what to do."""
    found = [problem for bench in benches for problem in bench.problems()]
    for program in ("nginx", "redis-server", "redis-cli", "pg_dump"):
        if shutil.which(program) is None:
            found.append("%s is missing: scripts/install-dependencies" % program)
    if not found and benches[0].version == benches[1].version:
        found.append("both benches have Frappe %s: there is nothing to upgrade" % benches[0].version)
    if not found:
        needed, free = max(bench.size() for bench in benches) * COPIES, shutil.disk_usage(tempfile.gettempdir()).free
        if needed > free:
            found.append("%s has %d MB free, and %d MB are needed: set TMPDIR to a larger file system" % (
                tempfile.gettempdir(), free >> 20, needed >> 20))
    return found


def tell(benches, say):
    for bench in benches:
        say("%s: Frappe %s" % (bench.home, bench.version))
        for name, kind in bench.sites_of():
            say("  its site %s is on %s, and is left alone%s" % (
                name, kind, "" if kind == "postgres" else ": Sluice fences PostgreSQL, so an upgrade of this site with Sluice is not supported"))
    say("A new site on a private PostgreSQL is made with the old bench's code, and upgraded to the new one's.")


def main():
    parser = argparse.ArgumentParser(prog="scripts/acceptance-frappe", description=__doc__)
    parser.add_argument("homes", metavar="OLD_HOME NEW_HOME", nargs="*")
    parser.add_argument("--standin", action="store_true", help="with two benches of the stand-in")
    parser.add_argument("--check", action="store_true", help="say what is missing, and do nothing")
    parser.add_argument("--binaries", required=True, type=pathlib.Path, help="where sluice and sluice-agent are")
    parser.add_argument("--json", action="store_true", help="the claims as one JSON object")
    # What is not for this program is for frappe_demo.py.
    own, more = sys.argv[1:], []
    for option in ("--fail", "--kill", "--in"):
        while option in own:
            place = own.index(option)
            more += own[place:place + 2]
            del own[place:place + 2]
    chosen = parser.parse_args(own)
    if len(chosen.homes) != (0 if chosen.standin else 2):
        parser.error("give the old bench and the new one")
    interrupt_on_signals()
    directory = pathlib.Path(tempfile.mkdtemp(prefix="sluice-acceptance."))
    try:
        return accept(chosen, more, directory)
    except KeyboardInterrupt:
        return 130
    except (OSError, shutil.Error, subprocess.SubprocessError) as error:
        print("acceptance-frappe: %s" % error, file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def standins(directory):
    homes = [(directory / "bench-14", "14.51.0"), (directory / "bench-15", "15.8.1")]
    for home, version in homes:
        subprocess.run([FIXTURES / "frappe" / "make-bench", version, home], check=True)
    return [home for home, _ in homes]


def accept(chosen, more, directory):
    directory.chmod(0o755)

    def say(text):
        print(text, file=sys.stderr if chosen.json else sys.stdout, flush=True)

    benches = [Bench(home) for home in (standins(directory) if chosen.standin else chosen.homes)]
    missing = look(benches)
    for problem in missing:
        print("acceptance-frappe: %s" % problem, file=sys.stderr)
    if missing:
        return 2
    tell(benches, say)
    if chosen.check:
        return 0
    words = []
    for option, bench in zip(("--old", "--new"), benches):
        say("Copying %s ..." % bench.home)
        bench.copy(directory / option.strip("-"))
        words += [option, bench.version, directory / option.strip("-")]
    return subprocess.run(
        [sys.executable, "-s", "-E", "-B", HERE / "frappe_demo.py", "--binaries", chosen.binaries, *words, *more,
         *(["--json"] if chosen.json else [])]).returncode


if __name__ == "__main__":
    sys.exit(main())
