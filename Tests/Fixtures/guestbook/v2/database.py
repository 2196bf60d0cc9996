# SPDX-License-Identifier: Apache-2.0
"""One lasting connection per thread. Every statement is a transaction of its own."""

import threading

import psycopg2
import psycopg2.extensions

LOST = (psycopg2.OperationalError, psycopg2.InterfaceError)


class Database:
    def __init__(self, dsn):
        self._dsn = dsn
        self._local = threading.local()

    def run(self, statement, values=()):
        """Runs one statement and returns its rows once it has committed.

        A connection that was lost is replaced, once. Every statement of this application may be repeated: the reads
        because they read, the insert because of its request id.
        """
        try:
            return self._run(statement, values)
        except LOST:
            self._close()
            return self._run(statement, values)

    def stamp(self):
        """Which server this thread is connected to, by its port, and whether names are split on it, or `unknown` while it does not answer."""
        try:
            rows = self.run(
                "SELECT inet_server_port(), EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass('public.entry')"
                " AND attname = 'given_name' AND NOT attisdropped)")
        except psycopg2.Error:
            return "%s unknown" % psycopg2.extensions.parse_dsn(self._dsn).get("port")
        return "%d %s" % (rows[0][0], "new" if rows[0][1] else "old")

    def _run(self, statement, values):
        connection = self._connection()
        with connection.cursor() as cursor:
            cursor.execute(statement, values)
            return cursor.fetchall()

    def _connection(self):
        connection = getattr(self._local, "connection", None)
        if connection is None or connection.closed:
            connection = psycopg2.connect(self._dsn, connect_timeout=5)
            connection.autocommit = True
            self._local.connection = connection
        return connection

    def _close(self):
        connection = getattr(self._local, "connection", None)
        self._local.connection = None
        if connection is not None:
            try:
                connection.close()
            except LOST:
                pass
