# SPDX-License-Identifier: Apache-2.0
"""Stands in for Frappe, with what was seen of it: switches that are read at every request, sessions that are written on reads, a migration
that commits step by step and goes on where it was killed, one cache for each release. Nothing else of it is here."""

import json
import os

import psycopg2

__version__ = "VERSION"


def config(site, sites="."):
    with open(os.path.join(sites, site, "site_config.json"), encoding="utf-8") as file:
        return json.load(file)


def connect(site):
    # As Frappe does: libpq reads PGOPTIONS by itself.
    return psycopg2.connect(dbname=config(site)["db_name"])


def patches():
    with open(os.path.join(os.path.dirname(__file__), "patches.txt"), encoding="utf-8") as file:
        return [line.strip() for line in file if line.strip()]
