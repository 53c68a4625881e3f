// Draws strokes again as the pen drew them, within a few seconds. Returns a function that stops it.
//
// Who wants less motion sees the drawing at once; who then asks for it (`asked`), stroke by stroke.

const UNITS = 1000;
const WIDTH = 22;
// A pen that rested is not waited for.
const LONGEST_PAUSE = 250;

export function replay(canvas, strokes, { seconds = 2.5, asked = false } = {}) {
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  const points = still ? whole(moments(strokes)) : moments(strokes);
  const last = points.at(-1)?.at ?? 0;
  const duration = Math.min(last, 1000 * seconds);
  const scale = duration / Math.max(1, last);
  if ((still && !asked) || !points.length) {
    draw(canvas, points);
    return () => {};
  }
  let frame = 0;
  let started = null;
  const step = (now) => {
    started ??= now;
    draw(canvas, points.filter(({ at }) => at * scale <= now - started));
    if (now - started < duration) frame = requestAnimationFrame(step);
  };
  frame = requestAnimationFrame(step);
  return () => cancelAnimationFrame(frame);
}

function moments(strokes) {
  const points = [];
  let clock = 0;
  let last = null;
  strokes.forEach(([xs, ys, ts], stroke) => xs.forEach((x, index) => {
    const time = ts?.[index] ?? clock + 20;
    if (last !== null) clock += Math.min(LONGEST_PAUSE, Math.max(0, time - last));
    last = time;
    points.push({ x, y: ys[index], stroke, at: clock });
  }));
  return points;
}

// Every point when its stroke begins.
function whole(points) {
  const begins = new Map([...points].reverse().map(({ stroke, at }) => [stroke, at]));
  return points.map((point) => ({ ...point, at: begins.get(point.stroke) }));
}

function draw(canvas, points) {
  const pixels = Math.max(1, Math.round(canvas.getBoundingClientRect().width * Math.min(3, devicePixelRatio || 1)));
  if (canvas.width !== pixels) canvas.width = canvas.height = pixels;
  const context = canvas.getContext("2d");
  context.setTransform(pixels / UNITS, 0, 0, pixels / UNITS, 0, 0);
  context.clearRect(0, 0, UNITS, UNITS);
  context.strokeStyle = getComputedStyle(canvas).color;
  context.lineWidth = WIDTH;
  context.lineCap = context.lineJoin = "round";
  context.beginPath();
  points.forEach(({ x, y, stroke }, index) => {
    if (index && points[index - 1].stroke === stroke) context.lineTo(x, y);
    else {
      context.moveTo(x, y);
      context.lineTo(x, y);
    }
  });
  context.stroke();
}
