// Optional: everything except playback works without this file.
"use strict";
(() => {
  const two = (n) => String(n).padStart(2, "0");

  /** Return the reader's time zone at a time in its usual form: CET, MEZ, GMT+1. */
  function zoned(at) {
    const parts = new Intl.DateTimeFormat(navigator.language, { timeZoneName: "short" }).formatToParts(at);
    return parts.find((part) => part.type === "timeZoneName").value;
  }

  /** Show times in the reader's zone, in the server's format; the title keeps UTC. */
  function times(root) {
    for (const each of root.querySelectorAll("time[datetime]:not([data-local])")) {
      const at = new Date(each.dateTime);
      if (Number.isNaN(at.getTime())) continue;
      const day = `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
      const clock = `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
      const zone = zoned(at);
      each.title = `${each.dateTime.replace("T", " ").replace(/(\.\d+)?Z$/, "")} UTC`;
      const shown = { clock: `${clock} ${zone}`, day }[each.dataset.shows] || `${day} ${clock} ${zone}`;
      each.textContent = shown;
      each.dataset.local = "";
    }
  }

  /** Send the reader's time zone, so that the server knows which days a date means. */
  function zones(root) {
    const zone = Intl.DateTimeFormat().resolvedOptions().timeZone || "";
    for (const each of root.querySelectorAll("[data-zone-name]")) each.textContent = zone || "UTC";
    for (const each of root.querySelectorAll("input[data-zone]")) each.value = zone;
  }

  /** Make a box in a table's head tick all boxes of the table. */
  function boxes(root) {
    for (const all of root.querySelectorAll("input[data-all]")) {
      all.hidden = false;
      all.addEventListener("change", () => {
        const each = all.closest("table").querySelectorAll("tbody input[type=checkbox]:not(:disabled)");
        for (const box of each) box.checked = all.checked;
      });
    }
  }

  /** Show what only works with scripts. */
  function scripted(root) {
    for (const each of root.querySelectorAll('[data-scripted=""]')) {
      each.hidden = false;
      each.dataset.scripted = "shown"; // once: what another script hides later stays hidden
    }
    for (const each of root.querySelectorAll("[data-scriptless]")) each.hidden = true;
  }

  /** Advance the lengths of live calls between two refreshes. */
  function lengths() {
    for (const each of document.querySelectorAll("[data-elapsed]")) {
      if (each.began === undefined) each.began = performance.now() - Number(each.dataset.elapsed);
      const seconds = Math.floor((performance.now() - each.began) / 1000);
      const [h, m, s] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
      each.textContent = h ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
    }
  }

  function dress(root) {
    for (const act of [times, zones, boxes, scripted]) act(root);
  }

  /** Send a form once: a second click before the answer does nothing. */
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (event.defaultPrevented || form.method !== "post") return;
    if (form.dataset.sent !== undefined) event.preventDefault();
    else form.dataset.sent = "";
    setTimeout(() => delete form.dataset.sent, 5000); // if the answer is a file, the page stays
  });

  // ---- the end of the session: warn before it, and send what was typed for the server to keep ----
  const WARN = 120; // seconds
  const changed = new Set();
  document.addEventListener("input", (event) => {
    const form = event.target.form;
    if (form && form.method === "post" && form.elements.csrf) changed.add(form);
  });
  document.addEventListener("submit", (event) => changed.delete(event.target));

  async function ended() {
    let next = location.pathname + location.search;
    let lost = "";
    for (const form of changed) {
      if (!form.isConnected || form.querySelector("input[type=password]")) continue;
      const body = new URLSearchParams(new FormData(form));
      body.set("action", new URL(form.getAttribute("action"), location.href).pathname);
      const answer = await fetch("/unsent", { method: "POST", body, redirect: "manual", headers: { "X-By-Itself": "true" } });
      if (answer.type === "opaqueredirect") next = "/unsent";
      else lost = "&lost=1";
    }
    location.assign(`/sign-in?next=${encodeURIComponent(next)}${lost}`);
  }

  async function session(busy) {
    const headers = busy ? {} : { "X-By-Itself": "true" };
    const answer = await fetch("/session", { headers, redirect: "manual" });
    if (answer.status === 410) return ended();
    const left = answer.ok ? await answer.json() : { seconds: WARN + 60, longest: false };
    const ending = document.getElementById("ending");
    ending.hidden = left.seconds > WARN;
    ending.querySelector("button").hidden = left.longest;
    watch(left.seconds);
  }

  let timer = 0;
  function watch(seconds) {
    clearTimeout(timer);
    const wait = seconds > WARN ? seconds - WARN : Math.max(seconds, 0) + 1;
    timer = setTimeout(() => session(false).catch(() => watch(60)), 1000 * wait);
  }

  // ---- keep opened details open when their part of the page is refreshed ----
  const named = (each) => `${each.closest("[id]")?.id || ""} ${each.querySelector("summary")?.textContent || ""}`;
  let opened = new Set();
  document.addEventListener("htmx:beforeSwap", (event) => {
    const open = event.detail.target.querySelectorAll("details[open]");
    opened = new Set(Array.from(open, named));
  });
  document.addEventListener("htmx:afterSwap", (event) => {
    const root = event.detail.elt.parentElement || document;
    for (const each of root.querySelectorAll("details:not([open])")) each.open = opened.has(named(each));
    opened = new Set();
  });

  function told(shown) {
    const place = document.getElementById("told");
    if (place) place.hidden = !shown;
  }

  document.addEventListener("DOMContentLoaded", () => {
    dress(document);
    lengths();
    setInterval(lengths, 1000);
    if (document.body.dataset.session === undefined) return;
    document.querySelector("#ending button").addEventListener("click", () => session(true).catch(() => {}));
    watch(Number(document.body.dataset.session));
  });
  // A hidden page does not refresh; it does so once it is shown.
  document.addEventListener("htmx:beforeRequest", (event) => {
    if (document.hidden && event.detail.elt.hasAttribute("data-polls")) event.preventDefault();
  });
  // Automatic refreshes must not keep an unused session alive.
  document.addEventListener("htmx:configRequest", (event) => {
    if (event.detail.elt.hasAttribute("data-polls")) event.detail.headers["X-By-Itself"] = "true";
  });
  document.addEventListener("htmx:afterSwap", (event) => dress(event.detail.elt.parentElement || document));
  document.addEventListener("htmx:afterRequest", (event) => {
    if (event.detail.successful) told(false);
  });
  // When a refresh finds that the session has ended, keep what was typed before leaving the page.
  document.addEventListener("htmx:beforeOnLoad", (event) => {
    if (event.detail.xhr.status !== 401 || !event.detail.xhr.getResponseHeader("HX-Redirect")) return;
    if (!event.detail.elt.hasAttribute("data-polls")) return;
    event.preventDefault();
    ended().catch(() => location.reload());
  });
  document.addEventListener("htmx:responseError", () => told(true));
  document.addEventListener("htmx:sendError", () => told(true));
  // A page cached for the back button may belong to somebody who has signed out.
  window.addEventListener("pageshow", (event) => {
    if (event.persisted) location.reload();
  });
})();
