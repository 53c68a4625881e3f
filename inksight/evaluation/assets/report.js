// Sorting, finding and pointing; everything in the page can be read without it.
"use strict";

for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  const key = (row, column) => {
    const cell = row.cells[column];
    const text = cell.dataset.v ?? cell.textContent.trim();
    return text !== "" && !Number.isNaN(Number(text)) ? Number(text) : text.toLowerCase();
  };
  heads.forEach((head, column) => {
    head.querySelector("button")?.addEventListener("click", () => {
      const rows = [...table.tBodies[0].rows];
      const numbers = rows.every((row) => typeof key(row, column) === "number");
      // Numbers start with the largest, names with A; a second click turns the order round.
      const next = { ascending: "descending", descending: "ascending" }[head.ariaSort] ?? (numbers ? "descending" : "ascending");
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", next);
      const sign = next === "ascending" ? 1 : -1;
      const compare = (a, b) => (numbers ? a - b : String(a).localeCompare(String(b)));
      rows.sort((a, b) => sign * compare(key(a, column), key(b, column)));
      table.tBodies[0].append(...rows);
    });
  });
}

for (const input of document.querySelectorAll("input.filter")) {
  const rows = document.getElementById(input.dataset.table).tBodies[0].rows;
  input.addEventListener("input", () => {
    const wanted = input.value.trim().toLowerCase();
    for (const row of rows) row.hidden = !row.cells[0].textContent.toLowerCase().includes(wanted);
  });
}

const cells = JSON.parse(document.getElementById("cells").textContent);
for (const figure of document.querySelectorAll(".overview")) {
  const area = figure.querySelector("div");
  const caption = figure.querySelector("figcaption");
  const size = cells.names.length;
  const found = new Map(cells.filled.map(([row, column, count]) => [row * size + column, count]));
  const read = (event) => {
    const box = area.getBoundingClientRect();
    const at = (position, start, length) => Math.min(size - 1, Math.max(0, Math.floor(((position - start) / length) * size)));
    const row = at(event.clientY, box.top, box.height);
    const column = at(event.clientX, box.left, box.width);
    const count = found.get(row * size + column) ?? 0;
    const share = cells.support[row] ? ((100 * count) / cells.support[row]).toFixed(1) : "0.0";
    caption.textContent = `${cells.names[row]} called ${cells.names[column]}: ${count} of ${cells.support[row]} (${share} %)`;
  };
  area.addEventListener("pointermove", read);
  area.addEventListener("pointerdown", read);
}
