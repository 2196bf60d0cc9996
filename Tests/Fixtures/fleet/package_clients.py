# SPDX-License-Identifier: Apache-2.0
"""The clients of MLflow: people who look at experiments, programs that log their runs and upload a file, and a page that stays open.

    package_clients.py reader|writer|tabs --out DIRECTORY --url URL [--rate PER_SECOND] [--threads N] [--seed N]
"""

import argparse
import json
import pathlib
import random
import re
import threading
import time
import uuid

import clients
from clients import FAILURES, Browser, Notes, paced

# Longer than the gate's longest hold.
clients.TIMEOUT = 360.0
EXPERIMENT = "1"
API = "/api/2.0/mlflow/"
_SCRIPT = re.compile(r'(?:src|href)="(?:\./)?(?:/)?(static-files/static/[^"]+)"')


def ask(browser, method, path, body=None):
    """Status, headers and text; a body is sent as JSON."""
    return browser.request(method, path, headers={"Content-Type": "application/json"} if body is not None else {},
                           body=json.dumps(body) if body is not None else None)


def read(browser, notes, kind, method, path, body=None, contains=""):
    note = {"kind": kind, "path": path, "session": False, "began": time.time()}
    try:
        status, headers, text = ask(browser, method, path, body)
    except FAILURES as error:
        notes.add(**note, ended=time.time(), status=0, problem="%s: %s" % (type(error).__name__, error))
        return None
    note.update(ended=time.time(), status=status, node=headers.get("X-Node"), release=headers.get("X-Activation"), cache=None)
    if status != 200 or contains not in text:
        note["problem"] = "status %d: %s" % (status, text[:300])
        if headers.get("Retry-After"):
            note["retry_after"] = headers["Retry-After"]
    notes.add(**note)
    return text if status == 200 else None


def reader(arguments, notes, chance):
    browser, runs = Browser(arguments.url), []
    for _ in paced(arguments.rate, chance):
        choice = chance.random()
        if choice < 0.4 or not runs:
            text = read(browser, notes, "search", "POST", API + "runs/search",
                        {"experiment_ids": [EXPERIMENT], "max_results": 20, "order_by": ["attributes.start_time DESC"]})
            # Only what is finished has everything.
            runs = [run["info"]["run_id"] for run in json.loads(text or "{}").get("runs", []) if run["info"]["status"] == "FINISHED"] or runs
        elif choice < 0.6:
            read(browser, notes, "run", "GET", API + "runs/get?run_id=" + chance.choice(runs), contains="loss")
        elif choice < 0.8:
            read(browser, notes, "metric", "GET", API + "metrics/get-history?max_results=100&metric_key=loss&run_id=" + chance.choice(runs), contains="loss")
        elif choice < 0.9:
            read(browser, notes, "page", "GET", "/", contains="<html")
        else:
            read(browser, notes, "experiments", "POST", API + "experiments/search", {"max_results": 10}, contains="readers and writers")


def tabs(arguments, notes, chance):
    """A page that was loaded once, whose scripts are asked for again all the time."""
    browser = Browser(arguments.url)
    page = read(browser, notes, "page", "GET", "/", contains="<html")
    scripts = _SCRIPT.findall(page or "")
    if not scripts:
        notes.add(kind="page", began=time.time(), ended=time.time(), status=200, problem="the page names no script: %s" % (page or "")[:300])
    for _ in paced(arguments.rate, chance):
        for script in scripts:
            read(browser, notes, "asset", "GET", "/" + script)


def writer(arguments, notes, chance):
    browser = Browser(arguments.url)
    for _ in paced(arguments.rate, chance):
        key = str(uuid.UUID(int=chance.getrandbits(128), version=4))
        created = write(browser, notes, "runs", key, "POST", API + "runs/create", {
            "experiment_id": EXPERIMENT, "run_name": key, "start_time": int(time.time() * 1000), "tags": [{"key": "request", "value": key}]})
        if created is None:
            continue
        run = json.loads(created)["run"]["info"]["run_id"]
        write(browser, notes, "metrics", key, "POST", API + "runs/log-batch", {
            "run_id": run, "metrics": [{"key": "loss", "value": 0.25, "timestamp": int(time.time() * 1000), "step": step} for step in range(3)],
            "params": [{"key": "request", "value": key}]}, run=run)
        write(browser, notes, "artifacts", key, "PUT", "/api/2.0/mlflow-artifacts/artifacts/%s/%s/artifacts/key.txt" % (EXPERIMENT, run),
              key, run=run)
        write(browser, notes, "finished", key, "POST", API + "runs/update", {"run_id": run, "status": "FINISHED"}, run=run)


def write(browser, notes, table, key, method, path, body, **more):
    """Once and never again, because MLflow has no key by which it would know a second attempt. Returns the answer, or nothing."""
    note = {"kind": "write", "table": table, "key": key, "author": key, "attempt": 1, "began": time.time(), **more}
    try:
        status, headers, text = ask(browser, method, path, body)
    except FAILURES as error:
        notes.add(**note, ended=time.time(), status=0, outcome="unknown", problem="%s: %s" % (type(error).__name__, error))
        return None
    note.update(ended=time.time(), status=status, node=headers.get("X-Node"), release=headers.get("X-Activation"))
    if status == 200:
        notes.add(**note, outcome="acknowledged")
        return text
    if status == 503 and headers.get("Retry-After"):
        notes.add(**note, outcome="refused", retry_after=headers["Retry-After"], by="gate")
    else:
        notes.add(**note, outcome="unknown" if status >= 500 else "rejected", problem="status %d: %s" % (status, text[:300]))
    return None


CLIENTS = {"reader": reader, "writer": writer, "tabs": tabs}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=sorted(CLIENTS))
    parser.add_argument("--out", required=True, type=pathlib.Path)
    parser.add_argument("--url", required=True)
    parser.add_argument("--seconds", type=float, default=1800)
    parser.add_argument("--rate", type=float, default=5.0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    threads = []
    for number in range(arguments.threads):
        notes = Notes(arguments.out / ("%s-%d.ndjson" % (arguments.kind, number)))
        chance = random.Random("%d %s %d" % (arguments.seed, arguments.kind, number))
        threads.append(threading.Thread(target=CLIENTS[arguments.kind], args=(arguments, notes, chance)))
    clients.live(threads, arguments.seconds)


if __name__ == "__main__":
    main()
