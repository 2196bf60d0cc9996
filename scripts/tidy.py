# SPDX-License-Identifier: Apache-2.0
"""The parts of scripts/check that read the tree: tidy.py headers|rooms|purity|unsafe|names|words|links."""

import json
import os
import re
import subprocess
import sys

PURE = ["UpgradeModel", "Documents", "UpgradePlan", "ControlAPI", "RunStore", "UpgradeEngine", "NodeEngine"]
# RunStore's ports are asynchronous by nature; everything else that a pure room has not, it has not either.
MAY_AWAIT = {"RunStore"}

# Where unsafe code is allowed, and how many lines of it there are. A new one needs a `SAFETY:` line beside it and this number raised.
UNSAFE = re.compile(r"\bUnsafe(?!Continuation)\w*|\bOpaquePointer\b|\bUnmanaged\b|@unchecked Sendable|nonisolated\(unsafe\)|unsafeBitCast|withUnsafe")
UNSAFE_ROOMS = "scripts/unsafe-lines.json"

# Words that say where or how a thing was written rather than what it is.
WORDS = [r"/work/", r"\bTODO\b", r"\bFIXME\b", r"\bXXX\b", r"pypi\.org", r"deb\.debian\.org"]


def tracked(*patterns):
    out = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard", *patterns],
                         capture_output=True, text=True, check=True).stdout.splitlines()
    return [path for path in out if os.path.isfile(path)]


def read(path):
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


def code_lines(path):
    """Line numbers and text without comments; strings stay."""
    for number, line in enumerate(read(path).splitlines(), 1):
        stripped = line.strip()
        if not stripped.startswith("//"):
            yield number, line.split(" // ")[0]


def headers():
    for path in tracked("*.swift", "*.h", "*.c", "*.py", "*.rb", "*.php", "scripts/*", ".ci/*", "*.conf", "*.service"):
        if path.endswith(".json"):
            continue
        if "SPDX-License-Identifier: Apache-2.0" not in "\n".join(read(path).splitlines()[:4]):
            yield f"{path}:1: no licence header; begin with `SPDX-License-Identifier: Apache-2.0`"


def rooms():
    described = json.loads(subprocess.run(["swift", "package", "describe", "--type", "json"],
                                          capture_output=True, text=True, check=True).stdout)
    targets = {target["name"]: target for target in described["targets"]}
    ours = set(targets)
    for name, target in sorted(targets.items()):
        declared = set(target.get("target_dependencies", []))
        products = set(target.get("product_dependencies", []))
        imported = set()
        for path in tracked(f"{target['path']}/*.swift"):
            for number, line in code_lines(path):
                match = re.match(r"\s*(?:@\w+ )?(?:public |internal |package )?import (?:\w+ )?(\w+)", line)
                if not match:
                    continue
                module = match.group(1)
                imported.add(module)
                if module in ours and module not in declared:
                    yield f"{path}:{number}: imports {module}, which the manifest's row of {name} does not name"
        for unused in sorted(declared - imported):
            if target["type"] != "test" and not unused.startswith("sluice"):
                yield f"Package.swift: {name} names {unused} and never imports it"
        if target["path"].startswith("Sources/") and name not in ("sluice", "sluice-agent"):
            readme = f"{target['path']}/README.md"
            if not os.path.exists(readme):
                yield f"{readme}: missing; ten lines: what the room is for, what does not belong"
            elif len(read(readme).splitlines()) > 12:
                yield f"{readme}: longer than ten lines and a title"


def purity():
    patterns = [
        (r"\bimport (Foundation|FoundationEssentials|Glibc|Dispatch|Logging|Metrics)\b", "imports a shell's module"),
        (r"\bTask\s*(\.detached)?\s*\{", "starts a task"),
        (r"\bDate(\(\)|\.now\b)|ContinuousClock|SuspendingClock", "reads a clock"),
        (r"SystemRandomNumberGenerator|\.random\(", "draws at random"),
    ]
    for room in PURE:
        for path in tracked(f"Sources/{room}/*.swift"):
            checks = list(patterns)
            if room not in MAY_AWAIT:
                checks.append((r"\basync\b|\bawait\b", "waits"))
            elif "Memory" in path:
                checks = []
            for number, line in code_lines(path):
                for pattern, what in checks:
                    if re.search(pattern, line):
                        yield f"{path}:{number}: the pure room {room} {what}: {line.strip()}"


def unsafe():
    allowed = json.loads(read(UNSAFE_ROOMS))
    counts = {}
    for path in tracked("Sources/*.swift"):
        room = path.split("/")[1]
        hits = sum(1 for _, line in code_lines(path) if UNSAFE.search(line))
        if hits:
            counts[room] = counts.get(room, 0) + hits
            if "SAFETY:" not in read(path):
                yield f"{path}: has unsafe code and no `SAFETY:` line that says why it is sound"
    if "--write" in sys.argv:
        with open(UNSAFE_ROOMS, "w", encoding="utf-8") as file:
            json.dump(dict(sorted(counts.items())), file, indent=2)
            file.write("\n")
        return
    for room, count in sorted(counts.items()):
        if count > allowed.get(room, 0):
            yield (f"Sources/{room}: {count} lines of unsafe code, {allowed.get(room, 0)} are accounted for; do without, or say why "
                   f"beside it and write the new number: python3 scripts/tidy.py unsafe --write")


# What a public type inside another may be called in several places: it says nothing without the outer one.
INNER = {"Kind", "State", "Code", "Reason", "Entry", "Configuration", "Limits", "Failure"}
TYPE = re.compile(r"^(\s*)public (?:indirect |final |nonisolated )*(?:struct|class|enum|actor|protocol) (\w+)")


def names():
    """One name, one type: no two public types have one name, but for those in INNER inside others."""
    found = {}
    for path in tracked("Sources/*.swift"):
        for number, line in code_lines(path):
            if match := TYPE.match(line):
                found.setdefault(match.group(2), []).append((path, number, bool(match.group(1))))
    for name, places in sorted(found.items()):
        isInner = name in INNER and all(inside for _, _, inside in places)
        for path, number, _ in places[1:] if not isInner else []:
            other, line, _ = places[0]
            yield f"{path}:{number}: `{name}` is the name of the public type at {other}:{line} as well; call them by what they are"


def words():
    for path in tracked():
        if path == "scripts/tidy.py" or path.endswith((".png", ".sqlite")):
            continue
        for number, line in enumerate(read(path).splitlines(), 1):
            for word in WORDS:
                if re.search(word, line):
                    yield f"{path}:{number}: `{word}` does not belong into the repository: {line.strip()[:100]}"


def links():
    for path in tracked("*.md"):
        text = re.sub(r"```.*?```", "", read(path), flags=re.S)
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text):
            if re.match(r"[a-z]+:", target):
                continue
            if not os.path.exists(os.path.normpath(os.path.join(os.path.dirname(path), target))):
                yield f"{path}: the link to {target} leads nowhere"


def main():
    topics = {f.__name__: f for f in (headers, rooms, purity, unsafe, names, words, links)}
    if len(sys.argv) < 2 or sys.argv[1] not in topics:
        sys.exit(__doc__)
    findings = list(topics[sys.argv[1]]())
    print("\n".join(findings))
    sys.exit(1 if findings else 0)


main()
