// SPDX-License-Identifier: Apache-2.0
// The mode that Sluice has put this application into, for code: sluice.readOnly.
//
//   const sluice = require("sluice-mode");
//   app.use(sluice.middleware());     // the first; for Express, Connect and whatever takes (request, response, next)
//   app.use(sluice.errors());         // the last
//
// In a request the mode is what the proxy said with it (X-Sluice-Mode); elsewhere, in workers and scripts, what the agent's mode.json says.
// Without either an application is in its normal mode. See docs/adapters.md.
"use strict";

const { AsyncLocalStorage } = require("node:async_hooks");
const fs = require("node:fs");

const requests = new AsyncLocalStorage();
const usualMessage = "Read-only for the moment. Please try again shortly.";
const usualRetryAfter = 5;
// A day: what is longer is no time to come again.
const longestRetryAfter = 86400;

/** What one request or one look at the file is to know. `refused`: whether the database has refused a write of this request. */
const state = (readOnly, retryAfter, message) => ({ readOnly, retryAfter: retryAfter || usualRetryAfter, message: message || usualMessage, refused: false });

/** No file: normal. One that cannot be understood: read-only, as the agent takes it. */
function ofFile() {
  const text = textOfFile();
  if (text === null) return state(false);
  try {
    const mode = JSON.parse(text);
    if (mode.readOnly === undefined) return state(true);
    const after = Math.trunc(Number(mode.retryAfterSeconds) || 0);
    return state(Boolean(mode.readOnly), Math.min(Math.max(0, after), longestRetryAfter), String(mode.message || ""));
  } catch {
    return state(true);
  }
}

/** Null where none can be read. Waits for nobody: a pipe or a directory in its place is no file of the agent's. */
function textOfFile() {
  let file;
  try {
    file = fs.openSync(process.env.SLUICE_MODE_FILE || "/run/sluice/mode.json", fs.constants.O_RDONLY | fs.constants.O_NONBLOCK);
    if (!fs.fstatSync(file).isFile()) return null;
    const bytes = Buffer.alloc(65536);
    return bytes.toString("utf8", 0, fs.readSync(file, bytes, 0, bytes.length, 0));
  } catch {
    return null;
  } finally {
    if (file !== undefined) fs.closeSync(file);
  }
}

/** The header decides where the proxy sends it; the words are the file's where there is one. */
function ofRequest(header) {
  const found = ofFile();
  if (header === "read-only" || header === "normal") found.readOnly = header === "read-only";
  return found;
}

const current = () => requests.getStore() ?? ofFile();

/** Whether an error, or one that it came from, is a write that the database refused because it is read-only. */
function isRefused(error) {
  // read_only_sql_transaction; insufficient_privilege is what a sequence says behind the fence.
  const codes = current().readOnly ? ["25006", "42501"] : ["25006"];
  const seen = new Set(), left = [error];
  while (left.length) {
    const one = left.pop();
    if (one === null || typeof one !== "object" || seen.has(one)) continue;
    seen.add(one);
    if (codes.includes(one.code) || codes.includes(one.sqlState)) return true;
    // Sequelize and Knex, TypeORM, Prisma.
    left.push(one.cause, one.original, one.parent, one.driverError, one.meta);
  }
  return false;
}

/** Remembers for the request under way that the database refused a write. Returns whether it did. */
function note(error) {
  const is = isRefused(error), request = requests.getStore();
  if (is && request) request.refused = true;
  return is;
}

/** For a write that a reader would not miss (a counter, "last seen"): left out while read-only, and undefined then. */
async function unlessReadOnly(write) {
  if (current().readOnly) return undefined;
  try {
    return await write();
  } catch (error) {
    if (isRefused(error)) return undefined;
    throw error;
  }
}

/** For a job that has time: resolves with true once writes are open, and with false after so many milliseconds. */
async function wait({ atMost = Infinity, every = 1000 } = {}) {
  for (const began = Date.now(); ofFile().readOnly; ) {
    if (Date.now() - began >= atMost) return false;
    await new Promise((resolve) => setTimeout(resolve, every));
  }
  return true;
}

const page = (message) => `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Read-only for the moment</title>
</head>
<body>
<main>
<h1>Read-only for the moment</h1>
<p>${message.replace(/[&<>"]/g, (letter) => `&#${letter.charCodeAt(0)};`)}</p>
<p>What you sent has not been saved. Go back, and send it again in a moment.</p>
</main>
</body>
</html>
`;

function words(found, accept) {
  if (accept.includes("text/html")) return ["text/html; charset=utf-8", page(found.message)];
  if (accept.includes("json")) {
    return ["application/json", `${JSON.stringify({ error: "read-only", message: found.message, retryAfter: found.retryAfter })}\n`];
  }
  return ["text/plain; charset=utf-8", `${found.message}\n`];
}

function middleware() {
  return (request, response, next) => {
    const found = ofRequest(request.headers["x-sluice-mode"]);
    request.readOnly = found.readOnly;
    // Express's templates see it.
    response.locals = Object.assign(response.locals ?? {}, { read_only_mode: found.readOnly });
    watch(found, request, response);
    requests.run(found, next);
  };
}

/** Puts the 503 in the place of an answer that hides a refused write: an error, and not one that says when to come again. */
function watch(found, request, response) {
  const { writeHead, write, end } = response;
  let isReplaced = false;

  function isOurs(status) {
    return found.refused && !response.headersSent && status >= 400 && !(status === 503 && response.hasHeader("Retry-After"));
  }

  function replace() {
    isReplaced = true;
    for (const name of response.getHeaderNames()) response.removeHeader(name);
    const [type, body] = words(found, String(request.headers.accept ?? "").toLowerCase());
    writeHead.call(response, 503, {
      "Content-Type": type, "Content-Length": Buffer.byteLength(body), "Retry-After": String(found.retryAfter), "Cache-Control": "no-store",
      Vary: "Accept", "X-Sluice-Refused": "database",
    });
    end.call(response, request.method === "HEAD" ? undefined : body);
    return response;
  }

  response.writeHead = (status, ...rest) => {
    if (isReplaced) return response;
    return isOurs(status) ? replace() : writeHead.call(response, status, ...rest);
  };
  response.write = (...values) => {
    if (!isReplaced && isOurs(response.statusCode)) replace();
    return isReplaced ? true : write.apply(response, values);
  };
  response.end = (...values) => {
    if (!isReplaced && isOurs(response.statusCode)) replace();
    return isReplaced ? response : end.apply(response, values);
  };
}

/** For Express's and Connect's errors: a refusal is no error of the application. */
function errors() {
  return (error, request, response, next) => {
    if (!note(error) || response.headersSent) return next(error);
    response.statusCode = 503;
    response.removeHeader("Retry-After");
    response.end();
  };
}

/** Around a store of express-session that writes to the database: nothing is saved while read-only. */
function sessions(store) {
  for (const name of ["set", "touch", "destroy"]) {
    const write = store[name];
    if (typeof write !== "function") continue;
    store[name] = function leftOut(...values) {
      const done = typeof values.at(-1) === "function" ? values.pop() : () => {};
      if (current().readOnly) return void process.nextTick(done, null);
      write.call(store, ...values, (error, ...rest) => done(error && isRefused(error) ? null : error, ...rest));
    };
  }
  return store;
}

module.exports = {
  get readOnly() { return current().readOnly; },
  middleware, errors, sessions, note, isRefused, unlessReadOnly, wait,
};
