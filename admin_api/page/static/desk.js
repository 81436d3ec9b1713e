// Optional: compute a document's digest without sending the document; draw the figures of a table as a plot.
"use strict";
(() => {
  async function digest(input) {
    const file = input.files[0];
    if (!file) return;
    const found = await crypto.subtle.digest("SHA-256", await file.arrayBuffer());
    const hex = Array.from(new Uint8Array(found), (byte) => byte.toString(16).padStart(2, "0")).join("");
    document.getElementById(input.dataset.digest).value = hex;
  }

  document.addEventListener("change", (event) => {
    if (event.target.matches("input[type=file][data-digest]")) digest(event.target);
  });

  /** Return the points of a table: seconds since 1970 and the value. */
  function points(table) {
    const rows = Array.from(table.tBodies[0].rows);
    const times = rows.map((row) => Date.parse(row.querySelector("time").dateTime) / 1000);
    return [times, rows.map((row) => Number(row.cells[1].dataset.value))];
  }

  function colour(place, name) {
    const shown = document.createElement("span");
    shown.style.color = `var(${name})`;
    place.append(shown);
    const found = getComputedStyle(shown).color;
    shown.remove();
    return found;
  }

  function draw(table) {
    const place = table.closest("figure").querySelector(".plot");
    const data = points(table);
    place.replaceChildren();
    if (data[0].length < 2) return;
    const [line, text, grid] = ["--left", "--calm", "--line"].map((name) => colour(place, name));
    const axis = { stroke: text, grid: { stroke: grid, width: 1 }, ticks: { stroke: grid, width: 1 } };
    const most = Math.max(...data[1], 1);
    new uPlot({
      width: place.clientWidth,
      height: place.clientHeight,
      legend: { show: false },
      cursor: { show: false },
      scales: { x: { time: true }, y: { range: [0, most * 1.1] } },
      series: [{}, { stroke: line, width: 2, points: { show: false } }],
      axes: [{ ...axis, values: (_, ticks) => ticks.map(clock) }, { ...axis, size: 56, values: (_, ticks) => ticks.map(figure) }],
    }, data, place);
  }

  /** Format a number as the page's language writes it. */
  function figure(value) {
    return value.toLocaleString(document.documentElement.lang);
  }

  function clock(seconds) {
    const at = new Date(seconds * 1000);
    return `${String(at.getHours()).padStart(2, "0")}:${String(at.getMinutes()).padStart(2, "0")}`;
  }

  function all() {
    for (const table of document.querySelectorAll("table[data-plot]")) draw(table);
  }

  // page.js, loaded before this file, shows the placeholders
  document.addEventListener("DOMContentLoaded", all);
  window.addEventListener("resize", all);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", all);
})();
