// Raw strokes of any canvas -> simplified strokes, whole numbers 0..255: twin of inksight/drawing/simplify.py.

const SIDE = 255;
const DOT = 1e-9;
const EPSILON = 2;
const MAX_SAMPLES = 30000;
const MAX_DEPTH = 200;

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
