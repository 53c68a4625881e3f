/**
 * THE renderer in JavaScript: what the page draws and what the model was trained on must be the same picture.
 *
 *     simplify(strokes)     raw strokes of any canvas -> simplified strokes, whole numbers 0..255
 *     render(strokes)       simplified strokes -> Uint8Array of 28 * 28, row by row, 0 paper, 255 ink
 *
 * A drawing is a list of strokes `[xs, ys]` or `[xs, ys, ts]`. This file with simplify.js, outline.js and coverage.js is the
 * twin of inksight/drawing (render.py, simplify.py, _outline.py, _coverage.py): the same steps, in the same order, on the
 * same doubles; tests hold the two together. Runs in browsers and in node, without dependencies, in well under a
 * millisecond for a usual drawing.
 *
 * Not guaranteed: anything for strokes that are not lists of finite numbers; the server checks what it is sent.
 */

import { coverage } from "./coverage.js";
import { outline, roundPen, toFixed } from "./outline.js";

export { simplify } from "./simplify.js";

const BOX = 256;
const LINE_WIDTH = 16;
const MARGIN = 24;

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
