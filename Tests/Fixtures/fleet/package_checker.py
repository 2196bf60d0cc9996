# SPDX-License-Identifier: Apache-2.0
"""What MLflow's clients were told, compared with its database and its files."""

import collections
import pathlib

from checker import Claim, acknowledged


def writes(fleet):
    """Each acknowledged run once, with its metrics, its parameter, its end and its file."""
    ledger = acknowledged(fleet.notes)
    runs = fleet.postgres.query("SELECT name, run_uuid, status FROM runs")
    stored = collections.defaultdict(list)
    for name, run, status in runs:
        stored[name].append((run, status))
    metrics = collections.Counter(run for run, in fleet.postgres.query("SELECT run_uuid FROM metrics WHERE key = 'loss' AND value = 0.25"))
    parameters = dict(fleet.postgres.query("SELECT run_uuid, value FROM params WHERE key = 'request'"))
    lost = ["run " + key for key in ledger["runs"] if not stored[key]]
    lost += ["metrics of " + key for key, note in ledger["metrics"].items() if metrics[note["run"]] != 3 or parameters.get(note["run"]) != key]
    lost += ["end of " + key for key in ledger["finished"] if "FINISHED" not in [status for _, status in stored[key]]]
    files = fleet.directory / "artifacts"
    missing = [key for key, note in ledger["artifacts"].items() if not holds(files, note["run"], key)]
    twice = [key for key, found in stored.items() if len(found) > 1]
    number = sum(len(notes) for notes in ledger.values())
    return [Claim("acknowledged writes lost or changed", "%d of %d" % (len(lost), number), "0", not lost and number > 0, lost[:10]),
            Claim("runs stored twice", str(len(twice)), "0", not twice, twice[:10]),
            Claim("acknowledged files lost or changed", "%d of %d" % (len(missing), len(ledger["artifacts"])), "0",
                  not missing and bool(ledger["artifacts"]), missing[:10])]


def holds(directory, run, key):
    return any(key in path.read_text() for path in pathlib.Path(directory).glob("*/%s/artifacts/key.txt" % run))
