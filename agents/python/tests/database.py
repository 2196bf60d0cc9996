# SPDX-License-Identifier: Apache-2.0
"""A database of its own on the PostgreSQL that scripts/test-adapters has started, with a fence that goes up and down."""

import psycopg2

NAME = "adapters_python"

FENCE = """
CREATE TABLE fence (up boolean NOT NULL);
INSERT INTO fence VALUES (false);
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (SELECT up FROM fence) THEN
        RAISE EXCEPTION 'this database is read-only while an upgrade runs' USING ERRCODE = '25006';
    END IF;
    RETURN NULL;
END $$;
"""


def run(statement, database=NAME):
    connection = psycopg2.connect(dbname=database)
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []
    finally:
        connection.close()


def create():
    run("DROP DATABASE IF EXISTS %s WITH (FORCE)" % NAME, "postgres")
    run("CREATE DATABASE %s" % NAME, "postgres")
    run(FENCE)
    run("CREATE TABLE note (id serial PRIMARY KEY, text text NOT NULL)")


def guard():
    """The trigger of the fence on every table, as Sluice's own."""
    for table, in run("SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
                      " AND relname <> 'fence'"):
        run('CREATE TRIGGER fence BEFORE INSERT OR UPDATE OR DELETE ON "%s" FOR EACH STATEMENT EXECUTE FUNCTION refuse()' % table)


class Fence:
    """With it: the database refuses every write."""

    def __enter__(self):
        run("UPDATE fence SET up = true")

    def __exit__(self, *_):
        run("UPDATE fence SET up = false")
