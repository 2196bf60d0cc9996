// SPDX-License-Identifier: Apache-2.0
// Tells a page that its site is read-only while Sluice upgrades it, and takes care of what people are typing. docs/browser.md
(() => {
  "use strict";
  if (window.sluice) return;
  const script = document.currentScript;
  const option = (name, usual) => script?.dataset[name] ?? usual;
  const root = document.documentElement;
  const address = option("mode", "/_sluice/mode.json");
  const everyNormal = 1000 * option("every", 5), everyClosed = 1000 * option("everyClosed", 2);

  const texts = {
    region: "Maintenance", readOnly: "This site is being upgraded. You can read everything; saving is paused for a moment.",
    reason: "Read-only while the site is being upgraded. What you have typed stays.",
    waiting: "What you sent is waiting. Keep this page open: it goes out when the upgrade is over.",
    stop: "Do not send", normal: "You can save again.",
    renew: "There is a new version of this page.", renewNow: "Load it",
    typed: "You had typed something here that was not sent.", restore: "Put it back", discard: "Discard it",
    unplaced: "No longer a field of this page:",
  };
  try {
    const given = JSON.parse(document.getElementById("sluice-texts")?.textContent ?? "{}");
    Object.assign(texts, given[root.lang] ?? given[root.lang.split("-")[0]] ?? given);
  } catch { /* The usual texts. */ }

  // A page may have no storage, or a full one.
  const store = {
    get(key) { try { return sessionStorage.getItem(key); } catch { return null; } },
    set(key, value) { try { sessionStorage.setItem(key, value); return true; } catch { return false; } },
    remove(key) { try { sessionStorage.removeItem(key); } catch { return; } },
  };

  let closed = false, policy = "open", message = "", current = null, page = option("release", "") || null;

  // The mode

  let timer, asking = null, askedAt = 0, failures = 0;

  function look() {
    // One that was asked before a sleep may never be answered.
    if (asking && Date.now() - askedAt < 12000) return asking;
    askedAt = Date.now();
    const mine = asking = ask().finally(() => { if (asking === mine) asking = null; later(); });
    return mine;
  }

  async function ask() {
    try {
      const answer = await plainFetch(address, { cache: "no-store", signal: AbortSignal.timeout(10000) });
      if (!answer.ok) throw new Error(String(answer.status));
      const mode = await answer.json();
      failures = 0;
      current = answer.headers.get("X-Sluice-Release") || current;
      page ??= current;
      take(mode.readOnly === true, mode.readOnly ? mode.writes?.kind ?? "refuse" : "open", mode.message || "");
    } catch {
      failures += 1;
    }
  }

  function later() {
    clearTimeout(timer);
    // A hidden page is told when it is looked at, unless something in it waits.
    if (document.hidden && !waiting && !retrying) return;
    const every = closed ? everyClosed : everyNormal;
    timer = setTimeout(look, Math.min(30000, every * 2 ** failures) * (0.9 + 0.2 * Math.random()));
  }

  function take(isClosed, how, words) {
    const changed = closed !== isClosed || policy !== how, isLift = closed && !isClosed;
    [closed, policy, message] = [isClosed, how, words];
    root.dataset.sluice = closed ? "read-only" : "normal";
    if (closed) say("mode", message || texts.readOnly);
    if (changed) {
      closed && formsClose() ? closeForms() : openForms();
      if (isLift) {
        hush("mode");
        announce(texts.normal);
        release();
      }
      lifted();
      window.dispatchEvent(new CustomEvent("sluice:mode", { detail: { readOnly: closed, policy: how, release: current } }));
    }
    if (!closed) renewWhenSafe();
  }

  for (const name of ["pageshow", "focus", "online"]) window.addEventListener(name, look);
  document.addEventListener("visibilitychange", () => { if (!document.hidden) look(); });
  document.addEventListener("resume", () => { asking = null; look(); });

  // The notice

  const host = document.createElement("div"), bar = document.createElement("div"), lines = new Map();
  let said = null;
  const styles = (text) => { const sheet = new CSSStyleSheet(); sheet.replaceSync(text); return sheet; };
  const atTop = option("place", "bottom") === "top";

  function build() {
    const place = document.querySelector("[data-sluice-notice]");
    const shadow = host.attachShadow({ mode: "open" });
    shadow.adoptedStyleSheets = [styles(`
      :host { all: initial; display: block; ${place ? "" : `position: fixed; left: 0; right: 0; ${atTop ? "top" : "bottom"}: 0;
        z-index: var(--sluice-layer, 2147483000);`} }
      [role=status] { box-sizing: border-box; max-height: 40vh; overflow: auto; padding: 0 max(1rem, env(safe-area-inset-left));
        font: var(--sluice-font, 1rem/1.4 system-ui, sans-serif); color: var(--sluice-color, #3d2c00);
        background: var(--sluice-background, #fff4ce); border: solid; border-width: 2px 0 }
      [role=status].quiet { position: absolute; width: 1px; height: 1px; padding: 0; border: 0; overflow: hidden; clip-path: inset(50%) }
      p { margin: .6rem 0; overflow-wrap: anywhere }
      button { font: inherit; color: inherit; background: transparent; border: 1px solid; border-radius: .25rem;
        margin: .1rem 0 .1rem .6rem; padding: .25rem .75rem; min-height: 2rem; cursor: pointer }
      button:focus-visible { outline: 3px solid; outline-offset: 2px }
      @media (prefers-color-scheme: dark) { [role=status] { color: var(--sluice-color-dark, #ffe9a8);
        background: var(--sluice-background-dark, #33290a) } }
      @media print { :host { display: none } }`)];
    const side = atTop ? "top" : "bottom";
    document.adoptedStyleSheets = [...document.adoptedStyleSheets, styles(`
      html[data-sluice-room] { padding-${side}: var(--sluice-height) !important; scroll-padding-${side}: calc(var(--sluice-height) + 1rem) !important }
      html[data-sluice=read-only] [aria-disabled=true] { opacity: .6; cursor: not-allowed }
      .sluice-reason { margin: .5rem 0; font-style: italic; flex-basis: 100%; grid-column: 1 / -1 }`)];
    bar.setAttribute("role", "status");
    bar.setAttribute("aria-label", texts.region);
    shadow.append(bar);
    // What comes into a live region is read out; so the region is there before its words.
    (place ?? document.body).append(host);
    bar.className = "quiet";
    if (!place) new ResizeObserver(() => {
      const height = lines.size ? bar.offsetHeight : 0;
      root.style.setProperty("--sluice-height", `${height}px`);
      root.toggleAttribute("data-sluice-room", height > 0);
    }).observe(bar);
  }

  /** Shows a line until it is hushed. Buttons are pairs of words and what they do. */
  function say(name, words, ...buttons) {
    let line = lines.get(name);
    if (!line) {
      line = document.createElement("p");
      lines.set(name, line);
    } else if (line.dataset.words === words) return;
    line.dataset.words = words;
    line.replaceChildren(words, ...buttons.map(([label, act]) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = label;
      button.onclick = act;
      return button;
    }));
    bar.className = "";
    said?.remove();
    bar.append(line);
  }

  function hush(name) {
    lines.get(name)?.remove();
    lines.delete(name);
    if (!lines.size) bar.className = "quiet";
  }

  /** Said to those who listen, and not shown. */
  function announce(words) {
    if (lines.size) return;
    said?.remove();
    const line = said = document.createElement("p");
    line.textContent = words;
    bar.append(line);
    setTimeout(() => line.remove(), 5000);
  }

  // Forms and editable regions while writes are refused

  const before = new Map();
  const readable = new Set(["text", "search", "url", "tel", "email", "password", "date", "month", "week", "time", "datetime-local", "number"]);
  const method = (form, submitter) => (submitter?.getAttribute("formmethod") ?? form.getAttribute("method") ?? "get").toLowerCase();
  const writes = (form, submitter) =>
    form.dataset.sluice !== "read" && (form.dataset.sluice === "write" || method(form, submitter) === "post");
  const editable = "[contenteditable]:not([contenteditable=false])";

  /** `auto`: closed where writes are refused; where they are held, a form that is sent waits. */
  function formsClose() {
    const forms = option("forms", "auto");
    return forms === "close" || (forms === "auto" && policy !== "hold");
  }

  const formsStay = () => option("forms", "auto") === "leave";

  function set(element, name, value) {
    if (!before.has(element)) before.set(element, {});
    const kept = before.get(element);
    if (!(name in kept)) kept[name] = element.getAttribute(name);
    element.setAttribute(name, value);
  }

  function closeForms() {
    for (const form of document.forms) {
      if (!writes(form) || before.has(form)) continue;
      before.set(form, {});
      const reason = document.createElement("p");
      reason.className = "sluice-reason";
      reason.id = `sluice-reason-${Math.random().toString(36).slice(2)}`;
      reason.textContent = texts.reason;
      form.prepend(reason);
    }
    for (const form of document.forms) if (before.has(form)) {
      const reason = form.querySelector(".sluice-reason");
      for (const field of form.elements) if (!before.has(field) && field.type !== "hidden" && field.localName !== "fieldset") {
        const isText = field.localName === "textarea" || (field.localName === "input" && readable.has(field.type));
        if (isText) set(field, "readonly", ""); else set(field, "aria-disabled", "true");
        if (reason) set(field, "aria-describedby", `${field.getAttribute("aria-describedby") ?? ""} ${reason.id}`.trim());
      }
    }
    for (const one of document.querySelectorAll(`${editable}, [data-sluice=write]:not(form)`)) if (!before.has(one)) {
      if (one.isContentEditable) {
        set(one, "contenteditable", "false");
        set(one, "aria-readonly", "true");
      } else set(one, "aria-disabled", "true");
      set(one, "title", texts.reason);
    }
  }

  function openForms() {
    for (const [element, kept] of before) {
      for (const name in kept) kept[name] === null ? element.removeAttribute(name) : element.setAttribute(name, kept[name]);
      if (element.localName === "form") element.querySelector(".sluice-reason")?.remove();
    }
    before.clear();
  }

  new MutationObserver(() => { if (closed && formsClose()) closeForms(); }).observe(root, { childList: true, subtree: true });

  function stopIfClosed(event) {
    const control = event.target.closest?.("[aria-disabled=true]") ?? event.target.closest?.("label")?.control;
    if (!control || !before.has(control) || control.getAttribute("aria-disabled") !== "true") return;
    if (event.type === "keydown" && ["Tab", "Escape", "Shift"].includes(event.key)) return;
    event.preventDefault();
    event.stopImmediatePropagation();
  }
  for (const name of ["click", "mousedown", "keydown"]) document.addEventListener(name, stopIfClosed, true);

  // Sending a form: what is sent in the window waits in the page

  let waiting = null, leaving = false, sentAt = -Infinity;

  document.addEventListener("submit", (event) => {
    const form = event.target, submitter = event.submitter;
    if (!writes(form, submitter)) return;
    if (!closed || formsStay()) {
      sentAt = Date.now();
      return kept(form).sent();
    }
    event.preventDefault();
    event.stopImmediatePropagation();
    if (before.has(form)) return;
    if (waiting) withdraw();
    waiting = { form, submitter };
    form.setAttribute("aria-busy", "true");
    say("waiting", texts.waiting, [texts.stop, withdraw]);
    later();
  }, true);

  function withdraw() {
    waiting?.form.removeAttribute("aria-busy");
    waiting = null;
    hush("waiting");
  }

  function release() {
    if (!waiting) return;
    const { form, submitter } = waiting;
    withdraw();
    if (form.isConnected) form.requestSubmit(submitter?.isConnected ? submitter : null);
  }

  window.addEventListener("beforeunload", (event) => { if (waiting && !leaving) event.preventDefault(); });

  // fetch: what gate or fence refused is sent again with the same key

  const plainFetch = window.fetch.bind(window);
  let retrying = 0, wakers = [];
  const lifted = () => { if (!closed) { wakers.forEach((wake) => wake()); wakers = []; } };

  async function send(input, init) {
    const request = new Request(input, init);
    const isRead = ["GET", "HEAD", "OPTIONS"].includes(request.method) || new URL(request.url).origin !== location.origin;
    if (isRead || init?.body instanceof ReadableStream) return plainFetch(input, init);
    if (!request.headers.has("Idempotency-Key")) request.headers.set("Idempotency-Key", newKey());
    const until = Date.now() + 1000 * option("retryFor", 120);
    for (;;) {
      const answer = await plainFetch(request.clone());
      const after = Number(answer.headers.get("Retry-After")) || 1;
      if (answer.status !== 503 || !answer.headers.has("X-Sluice-Refused") || Date.now() + 1000 * after > until) return answer;
      retrying += 1;
      look();
      try {
        await new Promise((resolve, reject) => {
          setTimeout(resolve, 1000 * after);
          if (closed) wakers.push(() => setTimeout(resolve, 500 * Math.random()));
          request.signal.addEventListener("abort", () => reject(request.signal.reason));
        });
      } finally {
        retrying -= 1;
      }
    }
  }
  const newKey = () => [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  if (option("fetch", "retry") === "retry") window.fetch = send;

  // What was typed is kept for this tab, and offered again after a reload

  const place = () => `sluice:typed:${location.pathname}${location.search}`;
  const secret = (field) => ["password", "file", "hidden", "submit", "button", "image", "reset"].includes(field.type) ||
    /cc-|one-time-code/.test(field.autocomplete ?? "") || field.closest("[data-sluice-keep=no]") !== null;
  const touched = new Set();
  const value = (field) => field.isContentEditable || field.hasAttribute("contenteditable") ? field.innerText
    : ["checkbox", "radio"].includes(field.type) ? String(field.checked)
    : field.localName === "select" ? JSON.stringify([...field.options].filter((one) => one.selected).map((one) => one.value)) : field.value;

  function fields(form) {
    const all = form ? [...form.elements].filter((field) => "value" in field) : [...document.querySelectorAll("[contenteditable]")];
    const count = {};
    return all.filter((field) => !secret(field)).map((field) => {
      const name = field.name || field.id || field.localName;
      count[name] = (count[name] ?? 0) + 1;
      return [`${name} ${count[name]}`, field];
    });
  }

  function formKey(form) {
    if (!form) return "page";
    const name = form.id || form.getAttribute("name") || form.getAttribute("action") || "form";
    const same = [...document.forms].filter((one) => (one.id || one.getAttribute("name") || one.getAttribute("action") || "form") === name);
    return `${name} ${same.indexOf(form)}`;
  }

  const read = (key) => { try { return JSON.parse(store.get(key)) ?? {}; } catch { return {}; } };
  function write(key, all) { Object.keys(all).length ? store.set(key, JSON.stringify(all)) : store.remove(key); }

  function kept(form) {
    const key = formKey(form);
    return {
      save() {
        const dirty = fields(form).filter(([, field]) => touched.has(field)).map(([name, field]) => [name, value(field)]);
        write(place(), { ...read(place()), [key]: { fields: Object.fromEntries(dirty), at: Date.now() } });
      },
      sent() {
        for (const [, field] of fields(form)) touched.delete(field);
        const all = read(place());
        if (all[key]) { all[key].sent = true; write(place(), all); }
      },
      forget() {
        for (const [, field] of fields(form)) touched.delete(field);
        const all = read(place());
        delete all[key];
        write(place(), all);
      },
    };
  }

  function typed(event) {
    const field = event.target.closest?.("[contenteditable]") ?? event.target;
    const isText = field.hasAttribute?.("contenteditable");
    if (!event.isTrusted || (!isText && !field.form) || secret(field)) return;
    if (!isText && !writes(field.form) && !field.form.querySelector("textarea")) return;
    touched.add(field);
    kept(isText ? null : field.form).save();
  }
  document.addEventListener("input", typed, true);
  document.addEventListener("change", typed, true);
  document.addEventListener("reset", (event) => kept(event.target).forget(), true);

  /** What was sent and has led on to another page with success is done with. */
  function settle() {
    const arrival = performance.getEntriesByType("navigation")[0];
    const isGood = arrival?.type === "navigate" && !((arrival.responseStatus ?? 200) >= 400);
    for (let index = sessionStorage.length - 1; index >= 0; index -= 1) {
      const key = sessionStorage.key(index);
      if (!key.startsWith("sluice:typed:")) continue;
      const all = read(key);
      for (const name in all) {
        const isDone = all[name].sent && isGood && (key !== place() || arrival.redirectCount > 0);
        if (isDone || !(Date.now() - all[name].at < 86400000)) delete all[name];
      }
      write(key, all);
    }
  }

  function offer() {
    const all = read(place()), found = [];
    const forms = [null, ...document.forms].map((form) => [formKey(form), form]);
    for (const name in all) {
      const form = forms.find(([key]) => key === name)?.[1];
      const have = form === undefined ? {} : Object.fromEntries(fields(form));
      for (const [field, words] of Object.entries(all[name].fields))
        if (!have[field] || value(have[field]) !== words) found.push([have[field], field, words]);
    }
    if (!found.length) return;
    const forget = () => { store.remove(place()); hush("typed"); };
    say("typed", texts.typed, [texts.restore, () => {
      const lost = [];
      for (const [field, name, words] of found) {
        if (field) put(field, words); else if (words !== "true" && words !== "false") lost.push(`${name.replace(/ \d+$/, "")}: ${words}`);
      }
      hush("typed");
      if (lost.length) say("lost", `${texts.unplaced} ${lost.join("; ")}`, [texts.discard, () => { hush("lost"); forget(); }]);
    }], [texts.discard, forget]);
  }

  function put(field, words) {
    touched.add(field);
    if (["checkbox", "radio"].includes(field.type)) field.checked = words === "true";
    else if (field.localName === "select") { const chosen = JSON.parse(words); for (const one of field.options) one.selected = chosen.includes(one.value); }
    else if (field.hasAttribute("contenteditable")) field.innerText = words;
    // Past a framework's own setter, so that it sees a change.
    else Object.getOwnPropertyDescriptor(Object.getPrototypeOf(field), "value").set.call(field, words);
    for (const name of ["input", "change"]) field.dispatchEvent(new Event(name, { bubbles: true }));
  }

  // A page of the release before

  const bare = (name) => name.replace(/^\d+-/, "").replace(/\.[0-9a-f]{12}$/, "");
  const isOld = () => page !== null && current !== null && page !== current && page !== bare(current);
  let active = 0, renewing = null;
  for (const name of ["keydown", "pointerdown", "wheel", "touchmove"])
    window.addEventListener(name, () => { active = Date.now(); }, { capture: true, passive: true });

  const isDirty = () => [...touched].some((field) => field.isConnected && (field.hasAttribute("contenteditable") ||
    (["checkbox", "radio"].includes(field.type) ? field.checked !== field.defaultChecked : field.localName === "select" || field.value !== field.defaultValue)));
  const isPlaying = () => [...document.querySelectorAll("video, audio")].some((one) => !one.paused && !one.ended);
  // A form that is on its way is left alone for as long as a proxy may hold it.
  const isSafe = () => !waiting && Date.now() - sentAt > 120000 && !retrying && !isDirty() && !isPlaying() && !document.fullscreenElement && !document.querySelector("dialog[open]") &&
    option("method", "GET") === "GET" && Array.from({ length: frames.length }, (_, index) => index).every(isFrameSafe);
  // A page takes its frames with it.
  function isFrameSafe(index) { try { return frames[index].sluice?.isSafe() ?? true; } catch { return true; } }

  function renewWhenSafe() {
    if (!isOld() || renewing || store.get("sluice:renewed") === current) return;
    if (option("renew", "auto") === "never") return;
    const attempt = () => {
      if (closed || !isOld()) { renewing = null; return hush("renew"); }
      if (!isSafe() || option("renew", "auto") === "offer") say("renew", texts.renew, [texts.renewNow, renew]);
      else if (document.hidden || Date.now() - active > 2000) return renew();
      renewing = setTimeout(attempt, 1000);
    };
    // Not everybody at once.
    renewing = setTimeout(attempt, 1000 * option("renewWithin", 10) * Math.random());
  }

  async function renew() {
    clearTimeout(renewing);
    // Once for a release. Without a memory it would be for ever.
    if (!store.set("sluice:renewed", current)) return;
    leaving = true;
    try {
      await renewWorker();
      const names = option("caches", "");
      if (names) for (const name of await caches.keys()) if (name.startsWith(names)) await caches.delete(name);
    } catch { /* The page is renewed all the same. */ }
    location.reload();
  }

  /** A service worker may have the old page in store: its successor takes over first. */
  async function renewWorker() {
    const registration = await navigator.serviceWorker?.getRegistration();
    await registration?.update();
    const fresh = registration?.installing ?? registration?.waiting;
    if (!fresh) return;
    const go = () => { if (fresh.state === "installed") fresh.postMessage({ type: "SKIP_WAITING" }); };
    fresh.onstatechange = go;
    go();
    await new Promise((resolve) => {
      navigator.serviceWorker.addEventListener("controllerchange", resolve);
      setTimeout(resolve, 5000);
    });
  }

  /** A part of the old release that is gone: the new one has others. */
  async function missing() {
    await look();
    if (!isOld() || store.get("sluice:renewed") === current) return;
    if (isSafe()) renew(); else say("renew", texts.renew, [texts.renewNow, renew]);
  }
  window.addEventListener("error", (event) => {
    if (event.target instanceof HTMLScriptElement || (event.target instanceof HTMLLinkElement && event.target.rel === "stylesheet")) missing();
  }, true);
  window.addEventListener("unhandledrejection", (event) => {
    if (/dynamically imported module|importing a module script|loading (css )?chunk/i.test(String(event.reason?.message ?? event.reason))) missing();
  });

  window.sluice = {
    get readOnly() { return closed; }, get release() { return current; }, look, fetch: send, isSafe,
    /** For an application that sends a form by itself: what was typed there is done with. */
    sent(form) { kept(form).forget(); },
  };

  function begin() {
    build();
    look();
    try { settle(); } catch { /* No storage. */ }
    // After what the browser itself puts back.
    setTimeout(offer, 100);
  }
  document.readyState === "loading" ? document.addEventListener("DOMContentLoaded", begin) : begin();
})();
