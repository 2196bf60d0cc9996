// SPDX-License-Identifier: Apache-2.0
// Killed, or never told a mode, the adapter leaves an application as it is without it: the same requests to both, byte by byte.
"use strict";

const assert = require("node:assert");
const { execFileSync } = require("node:child_process");
const fs = require("node:fs");
const http = require("node:http");
const net = require("node:net");
const os = require("node:os");
const path = require("node:path");
const { after, afterEach, test } = require("node:test");
const express = require("express");
const sluice = require("../sluice-mode.js");

const folder = fs.mkdtempSync(path.join(os.tmpdir(), "sluice-mode."));
const file = (process.env.SLUICE_MODE_FILE = path.join(folder, "mode.json"));
const clear = () => fs.rmSync(file, { force: true, recursive: true });
afterEach(clear);
after(() => fs.rmSync(folder, { recursive: true }));

/** What is in the place of mode.json, each with what makes it. */
const noFile = {
  "no file": () => {},
  "a directory, as a container engine makes one for a file that it misses": () => fs.mkdirSync(file),
  "a link to itself": () => fs.symlinkSync(file, file),
  "a pipe into which nobody writes": () => execFileSync("/usr/bin/mkfifo", [file]),
  "a device": () => fs.symlinkSync("/dev/zero", file),
};
/** What is there and cannot be understood: read-only, and whoever only reads is served as ever. */
const garbage = ["", "{", "null", "3", "[".repeat(60000), "\0".repeat(100000), '{"readOnly": true, "retryAfterSeconds": 1e999}',
  '{"readOnly": true, "retryAfterSeconds": [1], "message": {"toString": 1}}', '{"readOnly": true, "message": "\\ud800"}'];
/** What comes with a request of a proxy that is not, or not rightly, configured. */
const noHeader = [null, "", "garbage", "normal, read-only", "READ-ONLY", "\xff".repeat(2000)];

/** A store with the calls of express-session's; what it was told is in `told`. */
function stored(told) {
  const note = (name) => (...values) => { told.push(name); values.at(-1)(null); };
  return { set: note("set"), touch: note("touch"), destroy: note("destroy") };
}

function site(isAdapted, told) {
  const app = express(), store = isAdapted ? sluice.sessions(stored(told)) : stored(told);
  if (isAdapted) app.use(sluice.middleware());
  app.get("/", (request, response) => response.send("shown"));
  app.get("/json", (request, response) => response.status(201).set("X-Own", "yes").json({ shown: true }));
  app.get("/bad", (request, response) => response.status(400).set("Retry-After", "9").send("cannot save"));
  app.get("/unavailable", (request, response) => response.status(503).end());
  app.get("/moved", (request, response) => response.cookie("a", "b").redirect("/"));
  app.get("/pieces", (request, response) => {
    response.writeHead(207, "Some of it", { "Content-Type": "text/plain" });
    response.write("one ");
    setImmediate(() => response.end("two"));
  });
  app.get("/flushed", (request, response) => { response.flushHeaders(); response.end("later"); });
  app.get("/file", (request, response) => response.sendFile(__filename, { cacheControl: false, etag: false, lastModified: false }));
  app.get("/nothing", (request, response) => response.sendStatus(204));
  app.post("/seen", (request, response, next) => store.set("ada", {}, (error) => (error ? next(error) : response.send("seen"))));
  app.get("/wrong", () => { throw new Error("a fault of the application"); });
  app.get("/later", (request, response, next) => setImmediate(next, new Error("a fault of the application")));
  if (isAdapted) app.use(sluice.errors());
  // Express's own page of an error has a stack, and the adapter is on it.
  app.use((error, request, response, next) => response.status(500).send(error.message));
  return app;
}

function plain(request, response) {
  response.statusCode = request.url === "/" ? 200 : 404;
  response.setHeader("X-Own", "yes");
  response.end(request.method);
}

async function served(application, inside) {
  const server = http.createServer(application);
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  try {
    return await inside(server.address().port);
  } finally {
    server.close();
    server.closeAllConnections();
  }
}

/** The bytes of the answer, without what each has of its own. */
const ask = (port, method, page, mode) => new Promise((resolve, reject) => {
  const socket = net.connect(port, "127.0.0.1"), pieces = [];
  const header = mode === null ? "" : `X-Sluice-Mode: ${mode}\r\n`;
  socket.write(Buffer.from(`${method} ${page} HTTP/1.1\r\nHost: localhost\r\n${header}Connection: close\r\n\r\n`, "latin1"));
  socket.setTimeout(60000, () => socket.destroy(new Error(`${method} ${page} is not answered`)));
  socket.on("data", (piece) => pieces.push(piece));
  socket.on("error", reject);
  socket.on("end", () => resolve(Buffer.concat(pieces).toString("latin1").replace(/^Date: .*\r\n/m, "")));
});

const pages = ["/", "/json", "/bad", "/unavailable", "/moved", "/pieces", "/flushed", "/file", "/nothing", "/wrong", "/later", "/missing"];
const requests = [...pages.flatMap((page) => [["GET", page], ["HEAD", page]]), ["POST", "/seen"], ["OPTIONS", "/"], ["DELETE", "/"]];

async function same(bare, adapted, asked) {
  const all = async (port, mode, of = asked) => {
    const found = {};
    for (const [method, page] of of) found[`${method} ${page}`] = await ask(port, method, page, mode);
    return found;
  };
  const wanted = await served(bare, (port) => all(port, null));
  await served(adapted, async (port) => {
    for (const [kind, make] of Object.entries(noFile)) {
      clear();
      make();
      for (const mode of noHeader) assert.deepStrictEqual(await all(port, mode), wanted, `${kind}, ${mode}`);
    }
    clear();
    for (const text of garbage) {
      fs.writeFileSync(file, text);
      assert.deepStrictEqual(await all(port, null), wanted, text.slice(0, 20));
    }
  });
  return wanted;
}

test("where nobody says a mode an Express application is as without the adapter", async () => {
  const without = [], withIt = [];
  const wanted = await same(site(false, without), site(true, withIt), requests);
  assert.ok(new Set(Object.values(wanted).map((answer) => answer.split(" ")[1])).size > 5);
  // Left out where the file cannot be understood, and nowhere else.
  assert.strictEqual(withIt.length, without.length * Object.keys(noFile).length * noHeader.length);
});

test("where nobody says a mode a server without a framework is as without the adapter", async () => {
  const middleware = sluice.middleware();
  await same(plain, (request, response) => middleware(request, response, () => plain(request, response)),
    [["GET", "/"], ["HEAD", "/"], ["POST", "/"], ["GET", "/missing"]]);
});
