// The outline of a stroke, polygon edges around it, in cairo's fixed point: twin of inksight/drawing/_outline.py.

export const FIXED = 256; // units of a fixed-point coordinate, and of a crossing, per pixel
const TOLERANCE = 0.1; // largest distance in pixels between the round pen and its polygon

/** Round pixels to fixed point, halves to even. */
export function toFixed(pixels) {
  const value = pixels * FIXED, near = Math.round(value);
  return near - value === 0.5 && near % 2 !== 0 ? near - 1 : near;
}

const pens = new Map();

/** The polygon for a round pen, with the fans that joins and caps take from it. */
export function roundPen(radius, scale) {
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
export function outline(xs, ys, pen) {
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
