// SPDX-License-Identifier: Apache-2.0
// Express, behind the fence of a real PostgreSQL.
"use strict";

const assert = require("node:assert");
const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");
const { after, afterEach, before, test } = require("node:test");
const express = require("express");
const postgres = require("./postgres.js");
const sluice = require("../sluice-mode.js");

const database = "adapters_node";
const folder = fs.mkdtempSync(path.join(os.tmpdir(), "sluice-mode."));
process.env.SLUICE_MODE_FILE = path.join(folder, "mode.json");
const closeGate = () => fs.writeFileSync(process.env.SLUICE_MODE_FILE,
  '{"version": 1, "readOnly": true, "retryAfterSeconds": 7, "message": "We are <upgrading>."}');
const openGate = () => fs.rmSync(process.env.SLUICE_MODE_FILE, { force: true });
const run = (statement) => postgres.run(statement, database);
const write = () => run("INSERT INTO note (text) VALUES ('x')");

async function fenced(inside) {
  await run("UPDATE fence SET up = true");
  try {
    await inside();
  } finally {
    await run("UPDATE fence SET up = false");
  }
}

/** A store with the calls of express-session's, that writes to the database. */
const stored = sluice.sessions({
  set: (id, session, done) => run(`INSERT INTO session VALUES ('${id}', '${JSON.stringify(session)}')
    ON CONFLICT (id) DO UPDATE SET data = excluded.data, saved = session.saved + 1`).then(() => done(null), done),
  touch: (id, session, done) => stored.set(id, session, done),
  destroy: (id, done) => run(`DELETE FROM session WHERE id = '${id}'`).then(() => done(null), done),
});

function site() {
  const app = express();
  app.use(sluice.middleware());
  app.engine("js", (file, options, done) => done(null, `template ${options.read_only_mode}`));
  app.set("views", __dirname).set("view engine", "js");
  app.get("/", (request, response) => setTimeout(() => response.send(`${sluice.readOnly} ${request.readOnly}`), 5));
  app.get("/page", (request, response) => response.render("postgres"));
  app.all("/write", (request, response, next) => write().then(() => response.send("written"), next));
  app.all("/caught", (request, response) => write().then(() => response.send("written"), (error) => {
    sluice.note(error);
    response.status(400).json({ error: "cannot save" });
  }));
  app.all("/piecemeal", (request, response) => write().then(() => response.send("written"), (error) => {
    sluice.note(error);
    response.writeHead(500, { "Content-Type": "text/html" });
    response.write("cannot ");
    response.end("save");
  }));
  app.all("/own", (request, response) => write().catch((error) => {
    sluice.note(error);
    response.set("Retry-After", "99").status(503).send("own");
  }));
  app.get("/counted", (request, response, next) => sluice.unlessReadOnly(write).then(() => response.send("counted"), next));
  app.get("/seen", (request, response, next) => stored.touch("ada", { name: "ada" }, (error) => (error ? next(error) : response.send("seen"))));
  app.get("/wrong", () => { throw new Error("a fault of the application"); });
  app.use(sluice.errors());
  app.use((error, request, response, next) => response.status(500).send(error.message));
  return app;
}

let server;
const ask = async (page, headers = {}, method = "GET") => {
  const answer = await fetch(`http://127.0.0.1:${server.address().port}${page}`, { headers, method });
  return { status: answer.status, after: answer.headers.get("retry-after"), type: answer.headers.get("content-type"), text: await answer.text() };
};
const readOnly = { "X-Sluice-Mode": "read-only" };

before(async () => {
  await postgres.run(`DROP DATABASE IF EXISTS ${database} WITH (FORCE)`, "postgres");
  await postgres.run(`CREATE DATABASE ${database}`, "postgres");
  await run(`CREATE TABLE fence (up boolean NOT NULL); INSERT INTO fence VALUES (false);
    CREATE TABLE note (id serial PRIMARY KEY, text text NOT NULL);
    CREATE TABLE session (id text PRIMARY KEY, data text NOT NULL, saved integer NOT NULL DEFAULT 0);
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF (SELECT up FROM fence) THEN
      RAISE EXCEPTION 'this database is read-only while an upgrade runs' USING ERRCODE = '25006'; END IF; RETURN NULL; END $$;
    CREATE TRIGGER fence BEFORE INSERT OR UPDATE OR DELETE ON note FOR EACH STATEMENT EXECUTE FUNCTION refuse();
    CREATE TRIGGER fence BEFORE INSERT OR UPDATE OR DELETE ON session FOR EACH STATEMENT EXECUTE FUNCTION refuse()`);
  server = await new Promise((resolve) => { const one = site().listen(0, "127.0.0.1", () => resolve(one)); });
});
after(() => {
  server.close();
  server.closeAllConnections();
  fs.rmSync(folder, { recursive: true });
});
afterEach(openGate);

test("code, request and templates see the mode that the proxy says, each request its own", async () => {
  const answers = await Promise.all(Array.from({ length: 20 }, (_, index) => ask("/", index % 2 ? readOnly : { "X-Sluice-Mode": "normal" })));
  assert.deepStrictEqual(answers.map(({ text }) => text), Array.from({ length: 20 }, (_, index) => (index % 2 ? "true true" : "false false")));
  assert.strictEqual((await ask("/page", readOnly)).text, "template true");
  assert.strictEqual((await ask("/page")).text, "template false");
});

test("outside of a request the agent's file says the mode, and a damaged one is read-only", () => {
  assert.strictEqual(sluice.readOnly, false);
  closeGate();
  assert.strictEqual(sluice.readOnly, true);
  for (const damaged of ["", "{", "[]", "null", '{"version": 1}', "3"]) {
    fs.writeFileSync(process.env.SLUICE_MODE_FILE, damaged);
    assert.strictEqual(sluice.readOnly, true, damaged);
  }
});

test("a refused write is a 503 that says when to come again, in the client's words", async () => {
  closeGate();
  await fenced(async () => {
    for (const page of ["/write", "/caught", "/piecemeal"]) {
      const answer = await ask(page, { Accept: "application/json" }, "POST");
      assert.deepStrictEqual([answer.status, answer.after], [503, "7"], page);
      assert.deepStrictEqual(JSON.parse(answer.text), { error: "read-only", message: "We are <upgrading>.", retryAfter: 7 });
    }
    const html = await ask("/write", { Accept: "text/html,*/*" }, "POST");
    assert.match(html.text, /<p>We are &#60;upgrading&#62;\.<\/p>/);
    assert.strictEqual((await ask("/write")).text, "We are <upgrading>.\n");
    assert.strictEqual((await ask("/own")).after, "99");
  });
  assert.strictEqual((await ask("/write", {}, "POST")).text, "written");
});

test("a counter and a session are left out, and saved after the window", async () => {
  await ask("/seen");
  const saved = () => run("SELECT saved FROM session");
  const was = await saved();
  await fenced(async () => {
    for (const mode of [readOnly, {}]) {
      assert.deepStrictEqual([(await ask("/counted", mode)).text, (await ask("/seen", mode)).text], ["counted", "seen"]);
    }
    assert.deepStrictEqual(await saved(), was);
  });
  await ask("/seen");
  assert.notDeepStrictEqual(await saved(), was);
});

test("other errors stay what they are", async () => {
  assert.strictEqual((await ask("/wrong")).status, 500);
  assert.strictEqual((await ask("/missing")).status, 404);
});

test("a job waits until the gate has opened, or for as long as it wants to", async () => {
  closeGate();
  assert.strictEqual(await sluice.wait({ atMost: 0 }), false);
  setTimeout(openGate, 100);
  assert.strictEqual(await sluice.wait({ every: 10 }), true);
});
