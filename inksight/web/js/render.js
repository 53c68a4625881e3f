/**
 * THE renderer in JavaScript: what the page draws and what the model was trained on must be the same picture.
 *
 *     simplify(strokes)     raw strokes of any canvas -> simplified strokes, whole numbers 0..255
 *     render(strokes)       simplified strokes -> Uint8Array of 28 * 28, row by row, 0 paper, 255 ink
 *
 * A drawing is a list of strokes `[xs, ys]` or `[xs, ys, ts]`. This is the twin of inksight/drawing (simplify.py, render.py,
 * _outline.py, _coverage.py): the same steps, in the same order, on the same doubles; tests hold the two together. Runs in
 * browsers and in node, without dependencies, in well under a millisecond for a usual drawing.
 *
 * Not guaranteed: anything for strokes that are not lists of finite numbers; the server checks what it is sent.
 */

const SIDE = 255;
const DOT = 1e-9;
const EPSILON = 2;
const MAX_SAMPLES = 30000;
const MAX_DEPTH = 200;

const BOX = 256;
const LINE_WIDTH = 16;
const MARGIN = 24;

const FIXED = 256; // units of a fixed-point coordinate, and of a crossing, per pixel
const LINES = 15; // scan lines per pixel row
const TOLERANCE = 0.1; // largest distance in pixels between the round pen and its polygon

/**
 * Google's steps: corner to 0, longest side to 255, resample at 1 px, Ramer-Douglas-Peucker at epsilon 2.0.
 * @param {number[][][]} strokes
 * @returns {number[][][]}
 */
export function simplify(strokes) {
  if (strokes.length === 0) return [];
  let left = Infinity, top = Infinity, right = -Infinity, bottom = -Infinity;
  for (const [xs, ys] of strokes) {
    for (const x of xs) { if (x < left) left = x; if (x > right) right = x; }
    for (const y of ys) { if (y < top) top = y; if (y > bottom) bottom = y; }
  }
  const side = Math.max(right - left, bottom - top);
  const scale = side > DOT ? SIDE / side : 1;
  const lines = strokes.map(([xs, ys]) => {
    const line = { x: Array.from(xs, (x) => (x - left) * scale), y: Array.from(ys, (y) => (y - top) * scale) };
    line.way = wayAlong(line);
    return line;
  });
  const total = lines.reduce((sum, { way }) => sum + way[way.length - 1], 0);
  const step = Math.max(1, Math.ceil(total / MAX_SAMPLES));
  return lines.map((line) => {
    const { x, y } = resample(line, step);
    const kept = peucker(x, y);
    return [kept.map((i) => Math.floor(x[i] + 0.5)), kept.map((i) => Math.floor(y[i] + 0.5))];
  });
}

/** Distance along the stroke at each point. */
function wayAlong({ x, y }) {
  const way = [0];
  for (let i = 1; i < x.length; i++) {
    const dx = x[i] - x[i - 1], dy = y[i] - y[i - 1];
    way.push(way[i - 1] + Math.sqrt(dx * dx + dy * dy));
  }
  return way;
}

/** Points every `step` along the stroke, and its last point; a stroke of no length becomes two equal points. */
function resample({ x, y, way }, step) {
  const last = x.length - 1, length = way[last];
  if (length === 0) return { x: [x[0], x[0]], y: [y[0], y[0]] };
  const xs = [], ys = [];
  for (let n = 0, i = 0; n * step < length; n++) {
    const at = n * step;
    while (way[i + 1] <= at) i++;
    const share = (at - way[i]) / (way[i + 1] - way[i]);
    xs.push(x[i] + share * (x[i + 1] - x[i]));
    ys.push(y[i] + share * (y[i + 1] - y[i]));
  }
  xs.push(x[last]);
  ys.push(y[last]);
  return { x: xs, y: ys };
}

/** Indices of the points that Ramer-Douglas-Peucker keeps; of equally distant points the first counts. */
function peucker(x, y) {
  const keep = new Uint8Array(x.length);
  keep[0] = keep[x.length - 1] = 1;
  const open = [[0, x.length - 1, 0]];
  while (open.length) {
    const [first, last, depth] = open.pop();
    if (last - first < 2) continue;
    if (depth === MAX_DEPTH) {
      keep.fill(1, first, last);
      continue;
    }
    const dx = x[last] - x[first], dy = y[last] - y[first];
    const length = Math.sqrt(dx * dx + dy * dy);
    let farthest = -1, peak = first;
    for (let i = first + 1; i < last; i++) {
      const px = x[i] - x[first], py = y[i] - y[first];
      const distance = length === 0 ? Math.sqrt(px * px + py * py) : Math.abs(dx * py - dy * px) / length;
      if (distance > farthest) { farthest = distance; peak = i; }
    }
    if (farthest > EPSILON) {
      keep[peak] = 1;
      open.push([first, peak, depth + 1], [peak, last, depth + 1]);
    }
  }
  const kept = [];
  keep.forEach((kept_, i) => { if (kept_) kept.push(i); });
  return kept;
}

/**
 * Draw simplified strokes (0..255) with Google's round brush, each stroke painted over the ones before.
 * @param {number[][][]} strokes
 * @param {number} size pixels per side
 * @returns {Uint8Array} size * size grey levels, row by row, 0 paper, 255 ink
 */
export function render(strokes, size = 28) {
  const bitmap = new Uint8Array(size * size);
  if (strokes.length === 0) return bitmap;
  let right = -Infinity, bottom = -Infinity;
  for (const [xs, ys] of strokes) {
    for (const x of xs) if (x > right) right = x;
    for (const y of ys) if (y > bottom) bottom = y;
  }
  const scale = size / (BOX + 2 * MARGIN);
  const pen = roundPen(LINE_WIDTH / 2, scale);
  const toPixels = (value, high) => toFixed((value + (BOX - high) / 2) * scale + MARGIN * scale);
  for (const [xs, ys] of strokes) {
    const edges = outline(Array.from(xs, (x) => toPixels(x, right)), Array.from(ys, (y) => toPixels(y, bottom)), pen);
    paint(bitmap, coverage(edges, size));
  }
  return bitmap;
}

/** Paint one stroke over the others, rounding as cairo does. */
function paint(bitmap, alpha) {
  for (let i = 0; i < bitmap.length; i++) {
    if (alpha[i] === 0) continue;
    const below = bitmap[i] * (255 - alpha[i]) + 127;
    bitmap[i] = alpha[i] + ((below + (below >> 8)) >> 8);
  }
}

/** Round pixels to fixed point, halves to even. */
function toFixed(pixels) {
  const value = pixels * FIXED, near = Math.round(value);
  return near - value === 0.5 && near % 2 !== 0 ? near - 1 : near;
}

/* ---- the outline of a stroke: polygon edges around it (twin of _outline.py) ---- */

const pens = new Map();

/** The polygon for a round pen, with the fans that joins and caps take from it. */
function roundPen(radius, scale) {
  const known = pens.get(scale);
  if (known) return known;
  const pixels = radius * scale;
  let sides = 4;
  if (pixels > TOLERANCE) {
    sides = Math.max(4, Math.ceil((2 * Math.PI) / Math.acos(1 - TOLERANCE / pixels)));
    sides += sides % 2;
  }
  const vertices = [...Array(sides).keys()].map((i) => [
    toFixed(radius * Math.cos((2 * Math.PI * i) / sides) * scale),
    toFixed(radius * Math.sin((2 * Math.PI * i) / sides) * scale),
  ]);
  // Side i leads to vertex i.
  const side = vertices.map(([x, y], i) => [x - vertices.at(i - 1)[0], y - vertices.at(i - 1)[1]]);
  const angle = side.map(([x, y]) => Math.atan2(y, x));
  const order = [...side.keys()].sort((a, b) => angle[a] - angle[b]);
  // A direction's class is 2k + 1 if it equals side k of this order, else 2k for the gap before it; a ray of each.
  const rays = order.flatMap((i, place) => {
    const before = side[order.at(place - 1)];
    return [[side[i][0] + before[0], side[i][1] + before[1]], side[i]];
  });
  const pen = { radius, scale, vertices, angles: order.map((i) => angle[i]), fans: [[], []] };
  for (const into of rays) {
    for (const turn of [0, 1]) pen.fans[turn].push(rays.map((out) => fan(side, into, out, turn)));
  }
  pens.set(scale, pen);
  return pen;
}

/** First vertex and number of vertices of the fan from one direction to another, by cairo's own searches. */
function fan(side, into, out, turn) {
  const n = side.length, next = (i) => side[(i + 1) % n];
  if (turn === 0) {
    const start = firstVertex(n, (i) => compare(side[i], into) < 0);
    const stop = compare(out, next(start)) >= 0 ? lastVertex(n, start, (i) => compare(side[i], out) > 0) : start;
    return { start, count: (stop - start + n) % n };
  }
  const start = firstVertex(n, (i) => compare(into, next(i)) < 0);
  const stop = compare(side[start], out) <= 0 ? lastVertex(n, start, (i) => compare(out, next(i)) > 0) : start;
  return { start, count: (start - stop + n) % n };
}

/** Sign of the turn from b to a; for a half turn, negative if a points right, or straight down. */
function compare(a, b) {
  const cross = a[1] * b[0] - b[1] * a[0];
  if (cross !== 0 || a[0] * b[0] + a[1] * b[1] > 0) return cross;
  return a[0] > 0 || (a[0] === 0 && a[1] > 0) ? -1 : 1;
}

function firstVertex(n, goOn) {
  let low = 0, high = n, middle = n >> 1;
  do {
    if (goOn(middle)) low = middle; else high = middle;
    middle = (low + high) >> 1;
  } while (high - low > 1);
  return (middle + (goOn(middle) ? 1 : 0)) % n;
}

function lastVertex(n, start, stop) {
  let low = start, high = start + n, middle = (low + high) >> 1;
  do {
    if (stop(middle % n)) high = middle; else low = middle;
    middle = (low + high) >> 1;
  } while (high - low > 1);
  return middle % n;
}

function directionClass(dx, dy, pen) {
  const angle = Math.atan2(dy, dx);
  let below = 0, equal = 0;
  for (const side of pen.angles) {
    if (side - 1e-10 < angle) {
      below++;
      if (side + 1e-10 >= angle) equal++;
    }
  }
  return (2 * below - equal) % (2 * pen.angles.length);
}

/** Half the pen's width across a segment; the order of operations is that of cairo. */
function face(dx, dy, pen) {
  const inverse = 1 / pen.scale;
  let ux = dx / FIXED, uy = dy / FIXED;
  let length = Math.sqrt(ux * ux + uy * uy);
  ux = (ux / length) * inverse;
  uy = (uy / length) * inverse;
  length = Math.sqrt(ux * ux + uy * uy);
  return [toFixed(-(uy / length) * pen.radius * pen.scale), toFixed((ux / length) * pen.radius * pen.scale)];
}

/** Edges `[x0, y0, x1, y1, winding]`, pointing down, around a polyline in fixed point. */
function outline(xs, ys, pen) {
  const points = dropNeedless(xs, ys);
  const segments = [];
  for (let i = 0; i + 1 < points.length; i++) segments.push(segment(points[i], points[i + 1], pen));
  // A stroke of one point is a segment of no length that faces right.
  if (segments.length === 0) segments.push({ ...segment(points[0], [points[0][0] + FIXED, points[0][1]], pen), b: points[0] });

  const edges = [];
  const add = (ax, ay, bx, by, winding) => {
    if (ay > by) edges.push([bx, by, ax, ay, -winding]); else edges.push([ax, ay, bx, by, winding]);
  };
  for (const { a, b, f } of segments) add(a[0] - f[0], a[1] - f[1], b[0] - f[0], b[1] - f[1], 1);
  for (const { a, b, f } of segments) add(a[0] + f[0], a[1] + f[1], b[0] + f[0], b[1] + f[1], -1);

  // Joins: a detour through the point on the inner side of the bend, a fan on its outer side.
  const joins = segments.slice(1).map((out, i) => {
    const into = segments[i];
    const side = compare([into.dx, into.dy], [out.dx, out.dy]) < 0 ? 1 : -1;
    const [x, y] = out.a;
    return { into, out, x, y, side, from: [side * into.f[0], side * into.f[1]], to: [side * out.f[0], side * out.f[1]] };
  });
  for (const { x, y, side, from } of joins) add(x + from[0], y + from[1], x, y, -side);
  for (const { x, y, side, to } of joins) add(x, y, x + to[0], y + to[1], -side);

  const addFan = (x, y, from, to, turn, classIn, classOut) => {
    const { start, count } = pen.fans[turn][classIn][classOut];
    const winding = turn === 0 ? 1 : -1, n = pen.vertices.length;
    let [px, py] = from;
    for (let j = 0; j <= count; j++) {
      const [qx, qy] = j < count ? pen.vertices[(start + winding * j + n) % n] : to;
      add(x + px, y + py, x + qx, y + qy, winding);
      [px, py] = [qx, qy];
    }
  };
  for (const { into, out, x, y, side, from, to } of joins) {
    if (from[0] === to[0] && from[1] === to[1]) continue;
    addFan(x, y, [-from[0], -from[1]], [-to[0], -to[1]], side === 1 ? 0 : 1, into.direction, out.direction);
  }

  // Caps: half a pen at the beginning, facing backwards, and at the end.
  const first = segments[0], last = segments[segments.length - 1];
  const opposite = ({ dx, dy }) => directionClass(-dx, -dy, pen);
  const minus = ([x, y]) => [-x, -y];
  addFan(first.a[0], first.a[1], minus(first.f), first.f, 1, opposite(first), first.direction);
  addFan(last.b[0], last.b[1], last.f, minus(last.f), 1, last.direction, opposite(last));
  return edges;
}

function segment(a, b, pen) {
  const dx = b[0] - a[0], dy = b[1] - a[1];
  return { a, b, dx, dy, f: face(dx, dy, pen), direction: directionClass(dx, dy, pen) };
}

/** Drop repeated points, then points in the middle of a straight run. */
function dropNeedless(xs, ys) {
  const fresh = [];
  xs.forEach((x, i) => { if (i === 0 || x !== xs[i - 1] || ys[i] !== ys[i - 1]) fresh.push([x, ys[i]]); });
  return fresh.filter(([x, y], i) => {
    if (i === 0 || i === fresh.length - 1) return true;
    const ax = x - fresh[i - 1][0], ay = y - fresh[i - 1][1], bx = fresh[i + 1][0] - x, by = fresh[i + 1][1] - y;
    return ax * by !== ay * bx || ax * bx + ay * by <= 0;
  });
}

/* ---- how much of each pixel an outline covers (twin of _coverage.py) ---- */

/** First scan line at or below a fixed-point y. */
const lineAt = (y) => Math.floor((y * LINES + FIXED / 2) / FIXED);

/** Where an edge crosses a scan line, in whole 1/256 px. */
const crossing = ([x0, y0, x1, y1], line) =>
  x0 + Math.floor(((x1 - x0) * ((2 * line + 1) * FIXED - 2 * LINES * y0) + LINES * (y1 - y0)) / (2 * LINES * (y1 - y0)));

/** Alpha of one stroke, size * size. */
function coverage(edges, size) {
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
