// The sheet: takes a pen, a finger, a mouse or the keyboard, keeps strokes, shows them as ink.
//
//   const sheet = new Sheet(canvas, { onchange: (strokes) => ... });
//   sheet.strokes                          [[xs, ys, ts], ...] in units of a 1000 x 1000 sheet, milliseconds
//   sheet.undo(); sheet.clear();           undo takes back the last stroke, and a clear; sheet.undoable: has it anything to do?
//   sheet.renew();                         a new sheet: there is no way back to the one before
//   sheet.lift();                          the stroke that is being drawn ends here
//   const kept = sheet.dispose();          the drawing, and what undo knows; new Sheet(canvas, { onchange, kept }) goes on with it
//   sheet.kept; sheet.renew(kept);         the same while it is in use; it is plain data, for a page that is loaded again too
//   sheet.weigh([1, 0.2, -0.4])            colours the strokes: red speaks for the answer, pale against it; null: ink again
//
// Widths vary with speed and pressure for the eye only; the model never sees them.

const UNITS = 1000;
const WIDTH = 15;
const STEP = 18;
const REST = 25; // within so many units a finger that rests on the sheet may roll
const PALM = 10_000; // milliseconds after a pen was seen in which a touch is the hand that holds it

export class Sheet {
  strokes = [];
  weights = null;
  #widths = [];
  #cleared = []; // the drawings that were cleared away
  #canvas;
  #context;
  #pointer = null;
  #touching = false;
  #penSeen = -Infinity;
  #started = 0;
  #cursor = null;
  #abort = new AbortController();
  #observer;
  #frame = 0;
  #onchange;

  constructor(canvas, { onchange, kept = null }) {
    if (kept) this.#resume(kept);
    this.#canvas = canvas;
    this.#context = canvas.getContext("2d");
    this.#onchange = onchange;
    const on = (name, handler) => canvas.addEventListener(name, handler, { signal: this.#abort.signal });
    on("pointerdown", (event) => this.#down(event));
    on("pointermove", (event) => this.#move(event));
    on("pointerup", (event) => this.#up(event));
    on("pointercancel", (event) => this.#cancel(event));
    on("lostpointercapture", (event) => this.#up(event));
    on("contextmenu", (event) => event.preventDefault());
    on("keydown", (event) => this.#key(event));
    on("blur", () => { this.#canvas.classList.remove("pointed"); this.#hideCursor(); });
    addEventListener("inksight:theme", () => this.#redraw(), { signal: this.#abort.signal });
    this.#observer = new ResizeObserver(() => this.#resize());
    this.#observer.observe(canvas);
    this.#resize();
  }

  get drawing() {
    return this.#pointer !== null || this.#cursor?.down === true;
  }

  // The stroke that is being drawn ends here, wherever its pointer goes on to.
  lift() {
    this.#pointer = null;
    if (this.#cursor) this.#cursor.down = false;
  }

  undo() {
    this.lift();
    if (!this.undoable) return;
    if (this.strokes.pop()) this.#widths.pop();
    else this.#take(this.#cleared.pop());
    this.#changed();
  }

  get undoable() {
    return this.strokes.length + this.#cleared.length > 0;
  }

  clear() {
    if (this.strokes.length) this.#cleared.push(this.#drawing);
    this.#blank();
  }

  renew(kept = { drawing: blank(), cleared: [] }) {
    this.lift();
    this.#resume(kept);
    this.#changed();
  }

  get kept() {
    return { drawing: this.#drawing, cleared: this.#cleared };
  }

  #resume({ drawing, cleared }) {
    this.#take(drawing);
    this.#cleared = cleared;
  }

  get #drawing() {
    return { strokes: this.strokes, widths: this.#widths, started: this.#started };
  }

  #take({ strokes, widths, started }) {
    this.strokes = strokes;
    this.#widths = widths;
    this.#started = started;
  }

  #blank() {
    this.lift();
    this.#take(blank());
    this.#changed();
  }

  weigh(weights) {
    this.weights = weights;
    this.#redraw();
  }

  dispose() {
    this.#abort.abort();
    cancelAnimationFrame(this.#frame);
    this.#observer.disconnect();
    return this.kept;
  }

  // The drawing as a picture: ink on white whatever the theme, so that it can be printed and recognised elsewhere.
  picture(size = 1000) {
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = size;
    const context = canvas.getContext("2d");
    context.fillStyle = "#ffffff";
    context.fillRect(0, 0, size, size);
    context.scale(size / UNITS, size / UNITS);
    this.#ink(context, "#1d2433");
    return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
  }

  #changed() {
    this.#redraw();
    this.#onchange(this.strokes);
  }

  #down(event) {
    if (event.button !== 0) return;
    // A palm that rests on the glass is not a second pen, whether it came first or not.
    const pen = event.pointerType === "pen";
    const touch = event.pointerType === "touch";
    if (pen) this.#penSeen = event.timeStamp;
    else if (touch && event.timeStamp - this.#penSeen < PALM) return;
    // Nor is a thumb that holds the tablet: it keeps to its place, and whoever comes after it draws.
    if (this.#pointer !== null && this.#touching && (pen || (touch && this.#resting()))) this.undo();
    if (this.#pointer !== null) return;
    this.#touching = touch;
    event.preventDefault();
    // Which went with the default: keys are for the sheet now. But whoever points needs no ring to see where.
    this.#canvas.classList.add("pointed");
    this.#canvas.focus({ preventScroll: true });
    this.#hideCursor();
    this.#canvas.setPointerCapture(event.pointerId);
    this.#pointer = event.pointerId;
    this.#begin();
    this.#add(...this.#place(event), event.timeStamp, event);
    this.#redrawSoon();
    this.#onchange(this.strokes);
  }

  #move(event) {
    if (event.pointerType === "pen") this.#penSeen = event.timeStamp;
    if (event.pointerId !== this.#pointer) return;
    const coalesced = event.getCoalescedEvents?.() ?? [];
    for (const part of coalesced.length ? coalesced : [event]) this.#add(...this.#place(part), part.timeStamp, part);
    this.#redrawSoon();
    this.#onchange(this.strokes);
  }

  #up(event) {
    if (event.pointerId !== this.#pointer) return;
    this.#pointer = null;
    this.#onchange(this.strokes);
  }

  #resting() {
    const [xs, ys] = this.strokes.at(-1);
    return xs.every((x, index) => Math.hypot(x - xs[0], ys[index] - ys[0]) <= REST);
  }

  // A touch that is taken back was a palm, or a gesture of the system's.
  #cancel(event) {
    if (event.pointerId === this.#pointer && this.#touching) this.undo();
    else this.#up(event);
  }

  #place(event) {
    const box = this.#canvas.getBoundingClientRect();
    return [((event.clientX - box.left) / box.width) * UNITS, ((event.clientY - box.top) / box.height) * UNITS];
  }

  #begin() {
    this.strokes.push([[], [], []]);
    this.#widths.push([]);
  }

  // Appends a point to the last stroke, unless the pen is there already.
  #add(x, y, time, { pressure = 0, pointerType = "" } = {}) {
    const [xs, ys, ts] = this.strokes.at(-1);
    const widths = this.#widths.at(-1);
    x = Math.round(x * 10) / 10;
    y = Math.round(y * 10) / 10;
    if (xs.length && xs.at(-1) === x && ys.at(-1) === y) return;
    time += performance.timeOrigin; // a page that is loaded again counts from another one
    if (!this.#started) this.#started = time;
    const t = Math.max(0, Math.round(time - this.#started));
    let width = WIDTH;
    if (pointerType === "pen" && pressure > 0) width *= 0.5 + pressure;
    else if (xs.length) {
      const speed = Math.hypot(x - xs.at(-1), y - ys.at(-1)) / Math.max(1, t - ts.at(-1));
      width *= 1.2 - 0.5 * Math.min(1, speed / 4);
    }
    // Ink flows: a nib cannot change its line at once.
    widths.push(widths.length ? widths.at(-1) * 0.8 + width * 0.2 : width);
    xs.push(x);
    ys.push(y);
    ts.push(t);
  }

  // ---- keyboard -----------------------------------------------------------------------------------------------

  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const step = event.shiftKey ? 3 * STEP : STEP;
    const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
    const move = moves[event.key];
    if (!move && event.key !== " " && event.key !== "Escape") return;
    event.preventDefault();
    this.#canvas.classList.remove("pointed");
    if (event.key === " " && event.repeat) return;
    this.#cursor ??= { x: UNITS / 2, y: UNITS / 2, down: false };
    const cursor = this.#cursor;
    if (event.key === "Escape") cursor.down = false;
    if (event.key === " ") {
      cursor.down = !cursor.down;
      if (cursor.down) {
        this.#begin();
        this.#add(cursor.x, cursor.y, event.timeStamp);
      }
    }
    if (move) {
      cursor.x = Math.min(UNITS - 10, Math.max(10, cursor.x + move[0]));
      cursor.y = Math.min(UNITS - 10, Math.max(10, cursor.y + move[1]));
      if (cursor.down) this.#add(cursor.x, cursor.y, event.timeStamp);
    }
    this.#redraw();
    if (cursor.down || event.key === " ") this.#onchange(this.strokes);
  }

  #hideCursor() {
    if (!this.#cursor) return;
    this.#cursor = null;
    this.#redraw();
  }

  // ---- ink ----------------------------------------------------------------------------------------------------

  #resize() {
    const box = this.#canvas.getBoundingClientRect();
    const pixels = Math.max(1, Math.round(box.width * Math.min(3, devicePixelRatio || 1)));
    if (this.#canvas.width !== pixels) this.#canvas.width = this.#canvas.height = pixels;
    this.#redraw();
  }

  // At most once per frame: a pen reports its place up to 1,000 times a second.
  #redrawSoon() {
    this.#frame ||= requestAnimationFrame(() => this.#redraw());
  }

  #redraw() {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    const context = this.#context;
    const scale = this.#canvas.width / UNITS;
    context.setTransform(scale, 0, 0, scale, 0, 0);
    context.clearRect(0, 0, UNITS, UNITS);
    const style = getComputedStyle(this.#canvas);
    this.#ink(context, style.color, this.weights && { accent: style.getPropertyValue("--accent"), pale: style.getPropertyValue("--pencil") });
    if (this.#cursor) this.#showCursor(context, style.getPropertyValue("--accent"));
  }

  #ink(context, colour, weighed = null) {
    prepare(context, colour);
    this.strokes.forEach(([xs, ys], stroke) => {
      if (weighed) prepare(context, shade(this.weights[stroke] ?? 0, colour, weighed));
      if (xs.length === 1) dot(context, xs[0], ys[0], this.#widths[stroke][0]);
      for (let index = 1; index < xs.length; index++) segment(context, xs, ys, this.#widths[stroke], index);
    });
  }

  #showCursor(context, colour) {
    const { x, y, down } = this.#cursor;
    context.strokeStyle = context.fillStyle = colour;
    context.lineWidth = 4;
    context.beginPath();
    context.arc(x, y, down ? 10 : 16, 0, 7);
    if (down) context.fill();
    else context.stroke();
    context.beginPath();
    for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
      context.moveTo(x + dx * 22, y + dy * 22);
      context.lineTo(x + dx * 34, y + dy * 34);
    }
    context.stroke();
  }
}

const blank = () => ({ strokes: [], widths: [], started: 0 });

function prepare(context, colour) {
  context.strokeStyle = context.fillStyle = colour;
  context.lineCap = context.lineJoin = "round";
}

// From ink to red for what speaks for the answer, from ink to pale for what speaks against it.
function shade(weight, colour, { accent, pale }) {
  const far = Math.round(100 * Math.min(1, Math.abs(weight)));
  return `color-mix(in oklab, ${weight > 0 ? accent : pale} ${far}%, ${colour})`;
}

function dot(context, x, y, width) {
  context.beginPath();
  context.arc(x, y, width * 0.6, 0, 7);
  context.fill();
}

// One piece of a curve through the middles of neighbouring points, which rounds the corners that sampling leaves.
function segment(context, xs, ys, widths, index) {
  const middle = (values, at) => (values[at - 1] + values[at]) / 2;
  context.lineWidth = widths[index];
  context.beginPath();
  if (index === 1) context.moveTo(xs[0], ys[0]);
  else context.moveTo(middle(xs, index - 1), middle(ys, index - 1));
  if (index === 1) context.lineTo(middle(xs, 1), middle(ys, 1));
  else context.quadraticCurveTo(xs[index - 1], ys[index - 1], middle(xs, index), middle(ys, index));
  if (index === xs.length - 1) context.lineTo(xs[index], ys[index]);
  context.stroke();
}
