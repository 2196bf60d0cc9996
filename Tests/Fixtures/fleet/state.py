# SPDX-License-Identifier: Apache-2.0
"""The state of a fleet, as text that is equal before and after when nothing was changed."""

import difflib
import re
import subprocess

# Everything about rights and roles that the fence may touch, outside Sluice's own schema.
_RIGHTS = {
    "roles": "SELECT rolname, rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolcanlogin, rolreplication,"
             " rolbypassrls, rolconnlimit, rolvaliduntil FROM pg_roles WHERE rolname !~ '^sluice' ORDER BY 1",
    "members": "SELECT roleid::regrole::text, member::regrole::text, grantor::regrole::text, admin_option"
               " FROM pg_auth_members ORDER BY 1, 2, 3",
    "settings": "SELECT coalesce(d.datname, '-'), coalesce(setrole::regrole::text, '-'), setconfig"
                " FROM pg_db_role_setting LEFT JOIN pg_database d ON d.oid = setdatabase ORDER BY 1, 2",
    "databases": "SELECT datname, datdba::regrole::text, datacl::text, datconnlimit FROM pg_database ORDER BY 1",
    "schemas": "SELECT nspname, nspowner::regrole::text, nspacl::text FROM pg_namespace"
               " WHERE nspname !~ '^pg_(toast|temp)' AND nspname <> 'sluice' ORDER BY 1",
    "relations": "SELECT oid::regclass::text, relkind::text, relowner::regrole::text, relacl::text FROM pg_class"
                 " WHERE relnamespace NOT IN (SELECT oid FROM pg_namespace WHERE nspname ~ '^(pg_toast|pg_temp|sluice)')"
                 " AND relkind IN ('r', 'p', 'v', 'm', 'S', 'f') ORDER BY 1",
    "columns": "SELECT attrelid::regclass::text, attname, attacl::text FROM pg_attribute WHERE attacl IS NOT NULL ORDER BY 1, 2",
    "functions": "SELECT oid::regprocedure::text, proowner::regrole::text, prosecdef, proacl::text FROM pg_proc"
                 " WHERE pronamespace NOT IN (SELECT oid FROM pg_namespace WHERE nspname = 'sluice') ORDER BY 1",
    "defaults": "SELECT defaclrole::regrole::text, defaclnamespace, defaclobjtype::text, defaclacl::text"
                " FROM pg_default_acl ORDER BY 1, 2, 3",
    "triggers": "SELECT tgrelid::regclass::text, tgname, tgenabled::text FROM pg_trigger WHERE NOT tgisinternal"
                " AND tgrelid NOT IN (SELECT oid FROM pg_class WHERE relnamespace = to_regnamespace('sluice')) ORDER BY 1, 2",
    "event triggers": "SELECT evtname, evtevent, evtenabled::text FROM pg_event_trigger ORDER BY 1",
    "large objects": "SELECT oid, lomowner::regrole::text, lomacl::text FROM pg_largeobject_metadata ORDER BY 1",
    "prepared": "SELECT gid FROM pg_prepared_xacts ORDER BY 1",
}


def schema(postgres, database=None):
    """`pg_dump -s` without Sluice's own schema, byte for byte."""
    result = subprocess.run(
        ["pg_dump", "--schema-only", "--exclude-schema=sluice", postgres.url(database=database)], check=True,
        stdout=subprocess.PIPE)
    # Newer releases put a random key into two lines of each dump.
    return re.sub(rb"(?m)^\\(un)?restrict .*\n", b"", result.stdout).decode()


def rights(postgres, database=None):
    lines = []
    questions = dict(_RIGHTS)
    if postgres.fence == "owner":
        # No statement brings back the NULL of a default: it is written out, and means the same.
        questions["relations"] = questions["relations"].replace(
            "relacl::text", "coalesce(relacl, acldefault("
            "CASE relkind WHEN 'S' THEN 's'::\"char\" ELSE 'r' END, relowner))::text")
    for name, rows in postgres.query_all(questions, database).items():
        for row in rows:
            lines.append("%s: %s" % (name, " | ".join(str(value) for value in row)))
    return "\n".join(lines) + "\n"


def migrations(postgres, database=None):
    """The versions in the ledger, or nothing when there is no ledger yet."""
    exists = postgres.query("SELECT to_regclass('sluice.migration')::text", database=database)[0][0]
    if exists is None:
        return ""
    rows = postgres.query("SELECT version FROM sluice.migration ORDER BY 1", database=database)
    return "".join("%s\n" % row[0] for row in rows)


def nodes(fleet):
    lines = []
    for node in fleet.nodes:
        lines.append("%s: current %s, running %s, gate %s, mode %s" % (
            node.name, node.active_release(), ",".join(node.running_applications()),
            "open" if node.gate_is_open() else "closed", "read-only" if (node.mode() or {}).get("readOnly") else "open"))
    return "\n".join(lines) + "\n"


def snapshot(fleet):
    return {
        "schema": schema(fleet.postgres), "rights": rights(fleet.postgres), "migrations": migrations(fleet.postgres),
        "nodes": nodes(fleet)}


def differences(before, after):
    """Per part of the state, the lines that differ; empty when all is as before."""
    found = {}
    for part in before:
        if before[part] != after[part]:
            found[part] = [line for line in difflib.unified_diff(
                before[part].splitlines(), after[part].splitlines(), "before", "after", lineterm="", n=1)][:40]
    return found
