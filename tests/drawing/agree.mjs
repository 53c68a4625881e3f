// Reads [[raw strokes, size], ...] from standard input, writes [[simplified strokes, bitmap], ...] and milliseconds each.
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const { simplify, render } = await import(pathToFileURL(process.argv[2]).href);
const cases = JSON.parse(readFileSync(0, "utf8"));
const results = cases.map(([raw, size]) => {
  const strokes = simplify(raw);
  return [strokes, Array.from(render(strokes, size))];
});
const times = cases.map(([raw]) => {
  const start = performance.now();
  render(simplify(raw));
  return performance.now() - start;
});
process.stdout.write(JSON.stringify({ results, times }));
