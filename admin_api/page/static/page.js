// Comfort only: everything but playing works without this file.
"use strict";
(() => {
  const two = (n) => String(n).padStart(2, "0");

  /** Show times in the reader's zone, in the same shape that the server writes; the title keeps UTC. */
  function times(root) {
    for (const each of root.querySelectorAll("time[datetime]:not([data-local])")) {
      const at = new Date(each.dateTime);
      if (Number.isNaN(at.getTime())) continue;
      const day = `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
      const clock = `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
      each.title = `${each.dateTime.replace("T", " ").replace(/(\.\d+)?Z$/, "")} UTC`;
      each.textContent = each.dataset.shows === "clock" ? clock : each.dataset.shows === "day" ? day : `${day} ${clock}`;
      each.dataset.local = "";
    }
  }

  /** Tell the server which days a reader means by a date without a zone. */
  function zones(root) {
    const zone = Intl.DateTimeFormat().resolvedOptions().timeZone || "";
    for (const each of root.querySelectorAll("input[data-zone]")) each.value = zone;
  }

  /** A box in a table's head ticks all boxes of the table. */
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
    for (const each of root.querySelectorAll("[data-scripted]")) each.hidden = false;
    for (const each of root.querySelectorAll("[data-scriptless]")) each.hidden = true;
  }

  /** Lengths of live calls go on between two looks at the server. */
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

  function told(shown) {
    const place = document.getElementById("told");
    if (place) place.hidden = !shown;
  }

  document.addEventListener("DOMContentLoaded", () => {
    dress(document);
    lengths();
    setInterval(lengths, 1000);
  });
  // Nobody looks at a hidden page; it asks again once it is shown.
  document.addEventListener("htmx:beforeRequest", (event) => {
    if (document.hidden && event.detail.elt.hasAttribute("data-polls")) event.preventDefault();
  });
  // What renews itself must not keep a session alive that nobody uses.
  document.addEventListener("htmx:configRequest", (event) => {
    if (event.detail.elt.hasAttribute("data-polls")) event.detail.headers["X-By-Itself"] = "true";
  });
  document.addEventListener("htmx:afterSwap", (event) => dress(event.detail.elt.parentElement || document));
  document.addEventListener("htmx:afterRequest", (event) => {
    if (event.detail.successful) told(false);
  });
  document.addEventListener("htmx:responseError", () => told(true));
  document.addEventListener("htmx:sendError", () => told(true));
  // What a browser kept for its back button may belong to somebody who has signed out.
  window.addEventListener("pageshow", (event) => {
    if (event.persisted) location.reload();
  });
})();
