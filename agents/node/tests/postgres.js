// SPDX-License-Identifier: Apache-2.0
// As much of PostgreSQL's protocol as the tests need: statements over the socket of scripts/test-adapters, and errors with `code`, as the pg module
// has them. Debian has no pg for this Node.js.
"use strict";

const net = require("node:net");

const text = (...words) => Buffer.from(words.map((word) => `${word}\0`).join(""));

function message(kind, body) {
  const head = Buffer.alloc(kind ? 5 : 4);
  if (kind) head.write(kind);
  head.writeInt32BE(body.length + 4, kind ? 1 : 0);
  return Buffer.concat([head, body]);
}

/** The rows of a statement, as lists of texts. */
exports.run = (statement, database) => new Promise((resolve, reject) => {
  const socket = net.connect(`${process.env.PGHOST}/.s.PGSQL.5432`);
  const rows = [];
  let unread = Buffer.alloc(0), isAsked = false, failure = null;
  const version = Buffer.alloc(4);
  version.writeInt32BE(196608);
  socket.write(message("", Buffer.concat([version, text("user", process.env.PGUSER, "database", database, "")])));
  socket.on("error", reject);
  socket.on("data", (data) => {
    unread = Buffer.concat([unread, data]);
    while (unread.length >= 5 && unread.length > unread.readInt32BE(1)) {
      const kind = String.fromCharCode(unread[0]), body = unread.subarray(5, unread.readInt32BE(1) + 1);
      unread = unread.subarray(unread.readInt32BE(1) + 1);
      if (kind === "E") {
        const fields = Object.fromEntries(body.toString().split("\0").filter(Boolean).map((field) => [field[0], field.slice(1)]));
        failure = Object.assign(new Error(fields.M), { code: fields.C });
        if (!isAsked) socket.end();
      } else if (kind === "D") {
        const row = [];
        for (let index = 0, at = 2; index < body.readInt16BE(0); index += 1) {
          const length = body.readInt32BE(at);
          row.push(length < 0 ? null : body.subarray(at + 4, at + 4 + length).toString());
          at += 4 + Math.max(length, 0);
        }
        rows.push(row);
      } else if (kind === "Z") {
        if (isAsked) socket.end(message("X", Buffer.alloc(0)));
        else socket.write(message("Q", text(statement)));
        isAsked = true;
      }
    }
  });
  socket.on("close", () => (failure ? reject(failure) : resolve(rows)));
});
