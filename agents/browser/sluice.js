// SPDX-License-Identifier: Apache-2.0
// What it does, and why: docs/browser.md
(() => {
  "use strict";
  if (window.sluice) return;
  const script = document.currentScript;
  const option = (name, usual) => script?.dataset[name] ?? usual;
  const root = document.documentElement, now = Date.now;
  const safely = (act) => { try { return act(); } catch { return null; } };
  const on = (target, names, act, how) => { for (const name of names.split(" ")) target.addEventListener(name, act, how); };
  const address = option("mode", "/_sluice/mode.json"), events = option("events", "/_sluice/events");
  const everyNormal = 1000 * option("every", 5), everyClosed = 1000 * option("everyClosed", 2);

  const texts = {
    region: "Maintenance", readOnly: "This site is being upgraded. You can read everything; saving is paused for a moment.",
    soon: "Saving pauses in about {} min, for an upgrade.",
    reason: "Read-only while the site is being upgraded. What you have typed stays.",
    waiting: "What you sent is waiting. Keep this page open: it goes out when the upgrade is over.",
    stop: "Do not send", normal: "You can save again.",
    renew: "There is a new version of this page.", renewNow: "Load it",
    typed: "You had typed something here that was not sent.", restore: "Put it back", discard: "Discard it",
    unplaced: "No longer a field of this page:",
  };
  safely(() => {
    const given = JSON.parse(document.getElementById("sluice-texts").textContent);
    Object.assign(texts, given[root.lang] ?? given[root.lang.split("-")[0]] ?? given);
  });

  // May be absent, or full.
  const store = {
    get: (key) => safely(() => sessionStorage.getItem(key)),
    set: (key, value) => safely(() => { sessionStorage.setItem(key, value); return true; }),
    remove: (key) => safely(() => sessionStorage.removeItem(key)),
  };

  let closed = false, policy = "open", message = "", current = null, page = option("release", "") || null;

  // The mode: one page hears its node and tells the others, or each asks

  let timer, asking = null, askedAt = 0, heardAt = 0, failures = 0, channel, leave;

  function look() {
    // One from before a sleep may never be answered.
    if (asking && now() - askedAt < 12000) return asking;
    askedAt = now();
    const mine = asking = ask().finally(() => { if (asking === mine) asking = null; later(); });
    return mine;
  }

  async function ask() {
    try {
      const answer = await plainFetch(address, { cache: "no-store", signal: AbortSignal.timeout(10000) });
      if (!answer.ok) throw 0;
      const mode = await answer.json();
      failures = 0;
      // What was heard meanwhile is newer.
      if (heardAt < askedAt) learn(mode, answer.headers.get("X-Sluice-Release"));
    } catch {
      failures += 1;
    }
  }

  function learn(mode, release) {
    current = release || current;
    page ??= current;
    take(mode.readOnly === true, mode.readOnly ? mode.writes?.kind ?? "refuse" : "open", mode.message || "");
  }

  function hear({ data }) {
    heardAt = now();
    const mode = JSON.parse(data);
    learn(mode, mode.release);
    // To the minute: it is read out.
    if (mode.startsInSeconds >= 0) say("soon", texts.soon.replace("{}", Math.ceil(mode.startsInSeconds / 60) || 1)); else hush("soon");
    later();
  }

  function listen() {
    if (leave || parent !== window || !events) return;
    const gone = new AbortController();
    const end = leave = () => { gone.abort(); if (leave === end) leave = null; };
    // A browser has six connections to a site, for all its tabs: so one stream.
    navigator.locks?.request("sluice", { signal: gone.signal }, () => new Promise((done) => {
      const stream = new EventSource(events);
      gone.signal.onabort = () => { stream.close(); done(); };
      stream.onmessage = (event) => { hear(event); channel?.postMessage(event.data); };
      // Refused, for good.
      stream.onerror = () => { if (stream.readyState === 2) { done(); setTimeout(end, 30000 * (1 + Math.random())); } };
    })).catch(() => {});
  }

  function later() {
    clearTimeout(timer);
    if (!channel) (channel = new BroadcastChannel("sluice")).onmessage = hear;
    if (document.hidden) leave?.(); else listen();
    if (document.hidden && !waiting && !retrying) return;
    const every = now() - heardAt < 45000 ? 45000 : Math.min(30000, (closed ? everyClosed : everyNormal) * 2 ** failures);
    timer = setTimeout(look, every * (0.9 + 0.2 * Math.random()));
  }

  function take(isClosed, how, words) {
    const changed = closed !== isClosed || policy !== how, isLift = closed && !isClosed;
    [closed, policy, message] = [isClosed, how, words];
    root.dataset.sluice = closed ? "read-only" : "normal";
    if (closed) say("mode", message || texts.readOnly);
    if (changed) {
      hush("soon");
      closed && formsClose() ? closeForms() : openForms();
      if (isLift) {
        hush("mode");
        announce(texts.normal);
        // Not everybody at once.
        setTimeout(release, 500 * Math.random());
      }
      lifted();
      window.dispatchEvent(new CustomEvent("sluice:mode", { detail: { readOnly: closed, policy: how, release: current } }));
    }
    if (!closed) renewWhenSafe();
  }

  on(window, "pageshow focus online", look);
  on(document, "visibilitychange", () => document.hidden ? later() : look());
  // For the way back.
  on(window, "pagehide", () => { leave?.(); channel?.close(); channel = null; });
  on(document, "resume", () => { asking = null; look(); });

  // The notice

  const make = (name, words) => Object.assign(document.createElement(name), { textContent: words });
  const host = make("div"), bar = make("div"), lines = new Map();
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
    // A live region has to be there before its words.
    (place ?? document.body).append(host);
    bar.className = "quiet";
    if (!place) new ResizeObserver(() => {
      const height = lines.size ? bar.offsetHeight : 0;
      root.style.setProperty("--sluice-height", `${height}px`);
      root.toggleAttribute("data-sluice-room", height > 0);
    }).observe(bar);
  }

  function say(name, words, ...buttons) {
    const line = lines.get(name) ?? make("p");
    if (line.words === words) return;
    lines.set(name, line);
    line.words = words;
    line.replaceChildren(words, ...buttons.map(([label, act]) => Object.assign(make("button", label), { type: "button", onclick: act })));
    bar.className = "";
    said?.remove();
    bar.append(line);
  }

  function hush(name) {
    lines.get(name)?.remove();
    lines.delete(name);
    if (!lines.size) bar.className = "quiet";
  }

  function announce(words) {
    if (lines.size) return;
    said?.remove();
    const line = said = make("p", words);
    bar.append(line);
    setTimeout(() => line.remove(), 5000);
  }

  // Closed forms

  const before = new Map();
  const readable = /^(text|search|url|tel|email|password|date|month|week|time|datetime-local|number)$/;
  const method = (form, submitter) => (submitter?.getAttribute("formmethod") ?? form.getAttribute("method") ?? "get").toLowerCase();
  const writes = (form, submitter) =>
    form.dataset.sluice !== "read" && (form.dataset.sluice === "write" || method(form, submitter) === "post");
  const editable = "[contenteditable]:not([contenteditable=false])";

  const forms = option("forms", "auto");
  const formsClose = () => forms === "close" || (forms === "auto" && policy !== "hold");

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
      form.prepend(Object.assign(make("p", texts.reason), { className: "sluice-reason", id: `sluice-reason-${Math.random()}` }));
    }
    for (const form of document.forms) if (before.has(form)) {
      const reason = form.querySelector(".sluice-reason");
      for (const field of form.elements) if (!before.has(field) && field.type !== "hidden" && field.localName !== "fieldset") {
        const isText = field.localName === "textarea" || (field.localName === "input" && readable.test(field.type));
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
    if (event.type === "keydown" && /^(Tab|Escape|Shift)$/.test(event.key)) return;
    event.preventDefault();
    event.stopImmediatePropagation();
  }
  on(document, "click mousedown keydown", stopIfClosed, true);

  // Forms that wait

  let waiting = null, leaving = false, sentAt = -Infinity;

  on(document, "submit", (event) => {
    const form = event.target, submitter = event.submitter;
    if (!writes(form, submitter)) return;
    if (!closed || forms === "leave") {
      sentAt = now();
      return kept(form).end(true);
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

  on(window, "beforeunload", (event) => { if (waiting && !leaving) event.preventDefault(); });

  // Calls that are made again

  const plainFetch = window.fetch.bind(window);
  let retrying = 0, wakers = [];
  const lifted = () => { if (!closed) { wakers.forEach((wake) => wake()); wakers = []; } };

  async function send(input, init) {
    const request = new Request(input, init);
    const isRead = /^(GET|HEAD|OPTIONS)$/.test(request.method) || new URL(request.url).origin !== location.origin;
    if (isRead || init?.body instanceof ReadableStream) return plainFetch(input, init);
    if (!request.headers.has("Idempotency-Key")) request.headers.set("Idempotency-Key", newKey());
    const until = now() + 1000 * option("retryFor", 120);
    for (;;) {
      const answer = await plainFetch(request.clone());
      const after = Number(answer.headers.get("Retry-After")) || 1;
      if (answer.status !== 503 || !answer.headers.has("X-Sluice-Refused") || now() + 1000 * after > until) return answer;
      retrying += 1;
      look();
      try {
        await new Promise((resolve, reject) => {
          setTimeout(resolve, 1000 * after);
          if (closed) wakers.push(() => setTimeout(resolve, 500 * Math.random()));
          on(request.signal, "abort", () => reject(request.signal.reason));
        });
      } finally {
        retrying -= 1;
      }
    }
  }
  const newKey = () => crypto.getRandomValues(new Uint32Array(4)).join("-");
  if (option("fetch", "retry") === "retry") window.fetch = send;

  // What was typed

  const place = () => `sluice:typed:${location.pathname}${location.search}`;
  const secret = (field) => /^(password|file|hidden|submit|button|image|reset)$/.test(field.type) ||
    /cc-|one-time-code/.test(field.autocomplete ?? "") || field.closest("[data-sluice-keep=no]") !== null;
  const touched = new Set(), isBox = (field) => /^(checkbox|radio)$/.test(field.type);
  const value = (field) => field.isContentEditable || field.hasAttribute("contenteditable") ? field.innerText
    : isBox(field) ? String(field.checked)
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
    const name = (one) => one.id || one.getAttribute("name") || one.getAttribute("action") || "form";
    return `${name(form)} ${[...document.forms].filter((one) => name(one) === name(form)).indexOf(form)}`;
  }

  const read = (key) => safely(() => JSON.parse(store.get(key))) ?? {};
  function write(key, all) { Object.keys(all).length ? store.set(key, JSON.stringify(all)) : store.remove(key); }

  function kept(form) {
    const key = formKey(form);
    return {
      save() {
        const dirty = fields(form).filter(([, field]) => touched.has(field)).map(([name, field]) => [name, value(field)]);
        write(place(), { ...read(place()), [key]: { fields: Object.fromEntries(dirty), at: now() } });
      },
      end(isSent) {
        for (const [, field] of fields(form)) touched.delete(field);
        const all = read(place());
        if (isSent && all[key]) all[key].sent = true; else delete all[key];
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
  on(document, "input change", typed, true);
  on(document, "reset", (event) => kept(event.target).end(), true);

  // What has led on to another page is done with.
  function settle() {
    const arrival = performance.getEntriesByType("navigation")[0];
    const isGood = arrival?.type === "navigate" && !((arrival.responseStatus ?? 200) >= 400);
    for (let index = sessionStorage.length - 1; index >= 0; index -= 1) {
      const key = sessionStorage.key(index);
      if (!key.startsWith("sluice:typed:")) continue;
      const all = read(key);
      for (const name in all) {
        const isDone = all[name].sent && isGood && (key !== place() || arrival.redirectCount > 0);
        if (isDone || !(now() - all[name].at < 86400000)) delete all[name];
      }
      write(key, all);
    }
  }

  function offer() {
    const all = read(place()), found = [];
    const known = [null, ...document.forms].map((form) => [formKey(form), form]);
    for (const name in all) {
      const form = known.find(([key]) => key === name)?.[1];
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
    if (isBox(field)) field.checked = words === "true";
    else if (field.localName === "select") { const chosen = JSON.parse(words); for (const one of field.options) one.selected = chosen.includes(one.value); }
    else if (field.hasAttribute("contenteditable")) field.innerText = words;
    // Past a framework's own setter.
    else Object.getOwnPropertyDescriptor(Object.getPrototypeOf(field), "value").set.call(field, words);
    for (const name of ["input", "change"]) field.dispatchEvent(new Event(name, { bubbles: true }));
  }

  // The release

  const bare = (name) => name.replace(/^\d+-/, "").replace(/\.[0-9a-f]{12}$/, "");
  const isOld = () => page !== null && current !== null && page !== current && page !== bare(current);
  const isDue = () => isOld() && store.get("sluice:renewed") !== current;
  let active = 0, renewing = null;
  on(window, "keydown pointerdown wheel touchmove", () => { active = now(); }, { capture: true, passive: true });

  const isDirty = () => [...touched].some((field) => field.isConnected && (field.hasAttribute("contenteditable") ||
    (isBox(field) ? field.checked !== field.defaultChecked : field.localName === "select" || field.value !== field.defaultValue)));
  const isPlaying = () => [...document.querySelectorAll("video, audio")].some((one) => !one.paused && !one.ended);
  // A proxy may hold a form for so long.
  const isSafe = () => !waiting && now() - sentAt > 120000 && !retrying && !isDirty() && !isPlaying() && !document.fullscreenElement && !document.querySelector("dialog[open]") &&
    option("method", "GET") === "GET" && [...Array(frames.length).keys()].every((index) => safely(() => frames[index].sluice?.isSafe()) ?? true);

  function renewWhenSafe() {
    if (!isDue() || renewing) return;
    if (option("renew", "auto") === "never") return;
    const attempt = () => {
      if (closed || !isOld()) { renewing = null; return hush("renew"); }
      if (!isSafe() || option("renew", "auto") === "offer") say("renew", texts.renew, [texts.renewNow, renew]);
      else if (document.hidden || now() - active > 2000) return renew();
      renewing = setTimeout(attempt, 1000);
    };
    // Not everybody at once.
    renewing = setTimeout(attempt, 1000 * option("renewWithin", 10) * Math.random());
  }

  async function renew() {
    clearTimeout(renewing);
    // Without a memory it would be for ever.
    if (!store.set("sluice:renewed", current)) return;
    leaving = true;
    try {
      await renewWorker();
      const names = option("caches", "");
      if (names) for (const name of await caches.keys()) if (name.startsWith(names)) await caches.delete(name);
    } catch { /* The page is renewed all the same. */ }
    location.reload();
  }

  async function renewWorker() {
    const registration = await navigator.serviceWorker?.getRegistration();
    await registration?.update();
    const fresh = registration?.installing ?? registration?.waiting;
    if (!fresh) return;
    const go = () => { if (fresh.state === "installed") fresh.postMessage({ type: "SKIP_WAITING" }); };
    fresh.onstatechange = go;
    go();
    await new Promise((resolve) => {
      on(navigator.serviceWorker, "controllerchange", resolve);
      setTimeout(resolve, 5000);
    });
  }

  async function missing() {
    await look();
    if (!isDue()) return;
    if (isSafe()) renew(); else say("renew", texts.renew, [texts.renewNow, renew]);
  }
  on(window, "error", (event) => {
    if (event.target instanceof HTMLScriptElement || (event.target instanceof HTMLLinkElement && event.target.rel === "stylesheet")) missing();
  }, true);
  on(window, "unhandledrejection", (event) => {
    if (/dynamically imported module|importing a module script|loading (css )?chunk/i.test(String(event.reason?.message ?? event.reason))) missing();
  });

  window.sluice = {
    get readOnly() { return closed; }, get release() { return current; }, look, fetch: send, isSafe,
    sent(form) { kept(form).end(); },
  };

  function begin() {
    build();
    look();
    safely(settle);
    // After what the browser itself puts back.
    setTimeout(offer, 100);
  }
  document.readyState === "loading" ? on(document, "DOMContentLoaded", begin) : begin();
})();
