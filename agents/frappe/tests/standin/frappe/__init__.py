# SPDX-License-Identifier: Apache-2.0
"""Stands in for Frappe, with what was seen of it: switches that are read at every request, sessions and "last seen" that are written on
reads, a migration that commits step by step and goes on where it was killed, one cache for each release, jobs that run whatever the
switches say. Nothing else of it is here."""

import json
import os
import pathlib

import psycopg2

from frappe.redis import Redis

__version__ = "VERSION"

# A module that 15 has no more, and one that 14 does not have yet: what two releases in one cache give each other.
MODULES = ["frappe.core"] + (["frappe.event_streaming"] if __version__.startswith("14.") else ["frappe.types.frappedict"])


def major():
    return int(__version__.split(".")[0]) if __version__[0].isdigit() else 0


def config(site, sites="."):
    """Read anew each time. What is half written is no JSON."""
    found = {}
    for path in (pathlib.Path(sites, "common_site_config.json"), pathlib.Path(sites, site, "site_config.json")):
        if path.exists() or path.parent.name == site:
            found.update(json.loads(path.read_text(encoding="utf-8")))
    if major() >= 15:
        found["redis_cache"] = os.environ.get("FRAPPE_REDIS_CACHE") or found.get("redis_cache")
    if major() >= 16:
        for name in ("user", "password"):
            found["db_" + name] = os.environ.get("FRAPPE_DB_" + name.upper()) or found.get("db_" + name)
    return found


def connect(site):
    # As Frappe does: the user is called as the database, and libpq reads PGOPTIONS by itself.
    given = config(site)
    more = {"host": given.get("db_host"), "port": given.get("db_port"), "user": given.get("db_user"), "password": given.get("db_password")}
    if "db_host" in given:
        more["user"] = more["user"] or given["db_name"]
    return psycopg2.connect(dbname=given["db_name"], **{name: value for name, value in more.items() if value})


def cache(site):
    return Redis(config(site)["redis_cache"])


def queue(site):
    return Redis(config(site)["redis_queue"])


def check_modules(redis):
    """What another release has left in the cache is loaded as well."""
    foreign = [name for name in redis.ask("SMEMBERS", "modules") if name not in MODULES]
    if foreign:
        raise ModuleNotFoundError("No module named '%s'" % foreign[0])


def patches():
    with open(os.path.join(os.path.dirname(__file__), "patches.txt"), encoding="utf-8") as file:
        return [line.strip() for line in file if line.strip()]
