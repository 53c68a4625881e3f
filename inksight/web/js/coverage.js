// How much of each pixel an outline covers: twin of inksight/drawing/_coverage.py.

import { FIXED } from "./outline.js";

const LINES = 15; // scan lines per pixel row

/** First scan line at or below a fixed-point y. */
const lineAt = (y) => Math.floor((y * LINES + FIXED / 2) / FIXED);

/** Where an edge crosses a scan line, in whole 1/256 px. */
const crossing = ([x0, y0, x1, y1], line) =>
  x0 + Math.floor(((x1 - x0) * ((2 * line + 1) * FIXED - 2 * LINES * y0) + LINES * (y1 - y0)) / (2 * LINES * (y1 - y0)));

/** Alpha of one stroke, size * size. */
export function coverage(edges, size) {
  const sides = [];
  for (const edge of edges) {
    const top = lineAt(edge[1]), bottom = lineAt(edge[3]);
    if (bottom > top) sides.push({ edge, top, bottom });
  }
  const width = size + 2;
  const cells = new Float64Array(size * width);
  const add = (row, column, height, area) => {
    cells[row * width + column] += height * 2 * FIXED - area;
    cells[row * width + column + 1] += area;
  };
  const rows = wholeRows(sides, size);
  addIntervals(sides, rows, size, add);
  rows.forEach((row, y) => { if (row) addWholeRow(row, y, add); });

  const alpha = new Uint8Array(size * size);
  for (let y = 0; y < size; y++) {
    let covered = 0;
    for (let x = 0; x < size; x++) {
      covered += cells[y * width + x];
      alpha[y * size + x] = (covered * 17 + 256) >> 9;
    }
  }
  return alpha;
}

/** Cut every scan line that is in no whole row into its inside intervals. */
function addIntervals(sides, rows, size, add) {
  // A crossing is one number that sorts by line, then by x, and whose last bit says which way the side goes.
  const span = 2 * size * FIXED;
  let count = 0;
  for (const { top, bottom } of sides) count += bottom - top;
  const keys = new Float64Array(count);
  count = 0;
  for (const { edge, top, bottom } of sides) {
    for (let line = top; line < bottom; line++) {
      if (!rows[Math.floor(line / LINES)]) keys[count++] = line * span + 2 * crossing(edge, line) + (edge[4] < 0 ? 1 : 0);
    }
  }
  const sorted = keys.subarray(0, count).sort();
  for (let i = 0, winding = 0; i < count; i++) {
    const line = Math.floor(sorted[i] / span), rest = sorted[i] - line * span;
    const before = winding, x = rest >> 1;
    winding += rest & 1 ? -1 : 1;
    const sign = before === 0 ? 1 : winding === 0 ? -1 : 0;
    if (sign) add(Math.floor(line / LINES), x >> 8, sign, sign * 2 * (x & 255));
  }
}

/** The pixel rows in which no side begins, ends or crosses another: their sides from left to right, else null. */
function wholeRows(sides, size) {
  const rows = Array.from({ length: size }, () => []);
  const broken = new Uint8Array(size);
  for (const { edge, top, bottom } of sides) {
    if (top % LINES) broken[Math.floor(top / LINES)] = 1;
    if (bottom % LINES) broken[Math.floor(bottom / LINES)] = 1;
    for (let row = Math.ceil(top / LINES); row < Math.floor(bottom / LINES); row++) {
      if (broken[row]) continue;
      rows[row].push({ edge, before: crossing(edge, row * LINES), after: crossing(edge, (row + 1) * LINES) });
    }
  }
  return rows.map((row, y) => {
    if (broken[y] || row.length === 0) return null;
    // Sides that meet at the top of the row are still in the order in which they came, the steeper to the right first.
    row.sort((a, b) => a.before - b.before || b.after - a.after);
    return row.some((side, i) => i > 0 && side.after < row[i - 1].after) ? null : row;
  });
}

/** Cover a row by trapezoids; intervals that touch are one. */
function addWholeRow(row, y, add) {
  let winding = 0, left = 0;
  row.forEach((side, i) => {
    winding += side.edge[4];
    if (winding !== 0 || (i + 1 < row.length && row[i + 1].before === side.before)) return;
    addTrapezoid(row[left].edge, y, 1, add);
    addTrapezoid(side.edge, y, -1, add);
    left = i + 1;
  });
}

/** A side that crosses a pixel row from top to bottom, in whole scan lines per column. */
function addTrapezoid([x0, y0, xEnd, yEnd], row, sign, add) {
  const down = (yEnd - y0) * LINES * 2 * FIXED;
  const across = (xEnd - x0) * FIXED;
  const start = across * ((2 * row * LINES + 1) * FIXED - 2 * LINES * y0);
  // Back from the first line to the top of the row, half a line's step; halving rounds twice, towards zero.
  const whole = Math.trunc((across * 2 * FIXED) / down), part = across * 2 * FIXED - whole * down;
  let x1 = x0 * down + start - Math.trunc(whole / 2) * down - Math.trunc(part / 2);
  let x2 = x1 + across * LINES * 2 * FIXED;
  if (x2 < x1) [x1, x2] = [x2, x1];
  const q1 = Math.floor(x1 / down), q2 = Math.floor(x2 / down);
  const c1 = q1 >> 8, c2 = q2 >> 8, f1 = q1 & 255, f2 = q2 & 255;
  if (c1 === c2) {
    add(row, c1, sign * LINES, sign * LINES * (f1 + f2));
    return;
  }
  // Lines above the place where the side leaves column c.
  let above = 0;
  for (let c = c1; c <= c2; c++) {
    const y = c === c2 ? LINES : Math.floor(((c + 1) * FIXED * down - x1) * LINES / (x2 - x1));
    const lines = sign * (y - above);
    add(row, c, lines, lines * (c === c1 ? FIXED + f1 : c === c2 ? f2 : FIXED));
    above = y;
  }
}
