// Review: the queue of corrections. A drawing, what the machine said, what the player says; A accepts, L relabels,
// X rejects, S leaves it for later, B goes back to the one before. What was decided can be looked through, and decided
// again. Only with an admin token that allows "review".

import { makeAgreement } from "../agreement.js";
import { admin } from "../api.js";
import { h, refill } from "../dom.js";
import { makeGate, refused } from "../gate.js";
import { label, number, percent, t } from "../i18n.js";
import { detailed } from "../parts.js";
import { pick } from "../picker.js";
import { makeRetraining } from "../retraining.js";

export const id = "review";

const SIDE = 1120; // 40 for each of a bitmap's 28 pixels
const TYPING = 3000; // ms: who asked for the words may be typing already, though they did not come
const STATES = ["pending", "accepted", "relabelled", "rejected"];

export function mount(root, { notice }) {
  const section = h("section", { class: "review" });
  root.append(section);
  let state = STATES[0]; // of those that are looked through
  let queue = [];
  let past = [];
  let after = 0;
  let turned = 0; // how often another state was turned to; a page of an earlier one comes too late
  let loading = null; // the turn whose next page is on its way
  let counting = 0;
  let busy = false;
  let choosing = false;
  let deaf = 0; // until then keys decide nothing
  let left = false;
  let decided = 0;
  const classes = new Map();

  const canvas = h("canvas", { class: "evidence", width: SIDE, height: SIDE, role: "img" });
  const empty = h("p", { class: "nothing" });
  const machine = h("dd", {});
  const player = h("dd", {});
  const counts = h("p", { class: "tally", role: "status" });
  let retraining = null;
  const agreement = makeAgreement();
  const button = (name, key, kind, act) =>
    h("button", { class: kind, type: "button", "aria-keyshortcuts": key, onclick: act }, t(`review.${name}`), h("kbd", {}, key));
  const accept = button("accept", "A", "stamp-button", () => decide("accept"));
  const relabel = button("relabel", "L", "plain-button", choose);
  const reject = button("reject", "X", "plain-button", () => decide("reject"));
  const skip = button("skip", "S", "quiet", next);
  const back = button("back", "B", "quiet", before);
  const buttons = [accept, relabel, reject, skip];
  const tabs = h("div", { class: "tabs" });
  const claim = h("dt", { class: "overline" });

  function askForToken(error = null) {
    const gate = makeGate({ title: t("review.title"), text: t("review.gate"), scope: "review", error, onopen: open });
    section.replaceChildren(gate.element);
    gate.field.focus();
  }

  function open() {
    retraining?.dispose();
    retraining = makeRetraining({ notice });
    section.replaceChildren(
      h("div", { class: "paper" }, canvas, empty),
      h("div", { class: "margin" }, tabs,
        h("dl", { class: "claims" }, h("div", {}, h("dt", { class: "overline" }, t("review.machine")), machine),
          h("div", {}, claim, player)),
        h("div", { class: "decisions" }, buttons, back),
        counts, agreement.element,
        retraining.element,
        h("button", { class: "quiet", type: "button", onclick: () => { admin.forget(); askForToken(); } }, t("review.leave"))),
    );
    turn(STATES[0]);
  }

  function turn(to) {
    state = to;
    queue = [];
    past = [];
    after = 0;
    turned += 1;
    return more();
  }

  function failed(error) {
    if (left) return;
    if (refused(error)) askForToken(error);
    else notice(detailed(error), "bad");
  }

  async function more() {
    const wanted = turned;
    loading = wanted;
    try {
      const page = await admin.get(`v1/corrections?state=${state}&limit=50&after=${after}`)
        .finally(() => { if (loading === wanted) loading = null; });
      if (left || wanted !== turned) return;
      queue.push(...page.corrections);
      if (page.corrections.length) after = page.corrections.at(-1).id;
    } catch (error) {
      return failed(error);
    }
    show(); // what is first in the queue is what a key decides on
    await count();
  }

  // The numbers beside the queue; nobody waits for them.
  async function count() {
    const mine = ++counting;
    let found;
    try {
      found = await admin.get("v1/corrections/statistics");
    } catch (error) {
      return failed(error);
    }
    if (left || mine !== counting) return;
    refill(tabs, STATES.filter((name) => name === state || found.states[name] || name === STATES[0]).map((name) =>
      h("button", { class: "quiet", type: "button", "aria-pressed": String(name === state), onclick: () => turn(name) },
        t(`review.${name}`, { count: number(found.states[name] ?? 0) }))));
    const parts = [t("review.decided", { count: number(decided) })];
    if (found.reviewers_agreed !== null) parts.push(t("review.agreed", { percent: percent(found.reviewers_agreed.share) }));
    if (found.players_agreed !== null) parts.push(t("review.right", { percent: percent(found.players_agreed.share) }));
    agreement.show(found);
    counts.replaceChildren(...parts.map((part) => h("span", {}, part)));
    retraining.refresh();
  }

  function show() {
    const [item] = queue;
    for (const one of buttons) one.disabled = !item;
    back.disabled = !past.length;
    machine.textContent = item ? label(item.predicted) : "–";
    const settled = item?.state === "relabelled";
    claim.textContent = t(settled ? "review.reviewer" : "review.player");
    player.textContent = item ? label(settled ? item.final_label : item.label) : "–";
    if (item?.confidence != null) machine.append(" ", h("span", { class: "share" }, percent(item.confidence)));
    empty.textContent = item ? (item.input ? "" : t("review.lost")) : emptied();
    canvas.setAttribute("aria-label", item ? t("review.drawing", { number: item.id }) : empty.textContent);
    draw(canvas, item?.input);
  }

  // What is said where no drawing is left. Those that were put off do not come again by themselves.
  function emptied() {
    if (state !== STATES[0]) return t("review.through");
    const later = past.filter((one) => one.state === state).length;
    return later ? t("review.later", { count: number(later) }) : t("review.done");
  }

  async function decide(action, chosen) {
    const [item] = queue;
    if (!item || busy) return;
    busy = true;
    const seen = { state: item.state, label: item.label, final_label: item.final_label };
    try {
      const done = await admin.post(`v1/corrections/${item.id}`, { action, seen, ...(chosen && { label: chosen }) });
      decided += 1;
      if (queue[0] === item) {
        queue[0] = done;
        next();
      }
    } catch (error) {
      failed(error);
      if (error.status === 409) await again(item).catch(failed);
      return;
    } finally {
      busy = false;
    }
    count();
  }

  // It was changed meanwhile: shown as it is now, to be decided on once more.
  async function again(item) {
    const now = await admin.get(`v1/corrections/${item.id}`);
    if (left || queue[0] !== item) return;
    queue[0] = now;
    show();
  }

  function next() {
    if (!queue.length) return; // the next page is on its way
    past.push(queue.shift());
    if (queue.length) show();
    else if (loading !== turned) more();
  }

  function before() {
    if (!past.length) return;
    queue.unshift(past.pop());
    show();
  }

  async function choose() {
    const [item] = queue;
    if (!item || choosing || busy) return;
    choosing = true;
    try {
      if (!classes.has(item.model)) classes.set(item.model, (await admin.get(`v1/corrections/${item.id}/labels`)).labels);
      const chosen = await pick(classes.get(item.model));
      if (chosen !== null) await decide("relabel", chosen);
    } catch (error) {
      deaf = performance.now() + TYPING;
      failed(error);
    } finally {
      choosing = false;
    }
  }

  function keys(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || choosing || event.target.closest?.("input, dialog")) return;
    if (performance.now() < deaf) {
      deaf = performance.now() + TYPING;
      return;
    }
    const act = { a: accept, l: relabel, x: reject, s: skip, b: back }[event.key.toLowerCase()];
    if (!act?.isConnected || act.disabled) return;
    event.preventDefault();
    act.click();
  }
  const themed = () => draw(canvas, queue[0]?.input);
  addEventListener("keydown", keys);
  addEventListener("inksight:theme", themed);
  if (admin.token) open();
  else askForToken();
  return () => {
    left = true;
    retraining?.dispose();
    removeEventListener("keydown", keys);
    removeEventListener("inksight:theme", themed);
  };
}

// A kept input: strokes of any canvas size, fitted and centred; or the image that the model saw, grey ink or colours.
function draw(canvas, input) {
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, SIDE, SIDE);
  canvas.classList.toggle("pixels", Boolean(input?.image));
  if (!input) return;
  if (input.strokes) return drawStrokes(context, input.strokes, getComputedStyle(canvas).color);
  const bytes = Uint8Array.from(atob(input.image), (letter) => letter.charCodeAt(0));
  const [high, wide, colours] = input.shape;
  const small = h("canvas", { width: wide, height: high });
  const image = small.getContext("2d").createImageData(wide, high);
  const [red, green, blue] = getComputedStyle(canvas).color.match(/\d+/g).map(Number);
  for (let at = 0; at < wide * high; at++) {
    image.data.set(colours ? [...bytes.subarray(3 * at, 3 * at + 3), 255] : [red, green, blue, bytes[at]], 4 * at);
  }
  small.getContext("2d").putImageData(image, 0, 0);
  context.imageSmoothingEnabled = Boolean(colours);
  context.drawImage(small, 0, 0, SIDE, SIDE);
}

function drawStrokes(context, strokes, colour) {
  const xs = strokes.flatMap(([x]) => x);
  const ys = strokes.flatMap(([, y]) => y);
  if (!xs.length) return;
  const [left, top] = [Math.min(...xs), Math.min(...ys)];
  const [wide, high] = [Math.max(...xs) - left, Math.max(...ys) - top];
  const scale = (SIDE - 240) / Math.max(wide, high, 1);
  context.strokeStyle = colour;
  context.lineWidth = 22;
  context.lineCap = context.lineJoin = "round";
  for (const [x, y] of strokes) {
    context.beginPath();
    x.forEach((_, at) =>
      context.lineTo((x[at] - left - wide / 2) * scale + SIDE / 2, (y[at] - top - high / 2) * scale + SIDE / 2));
    if (x.length === 1) context.lineTo((x[0] - left - wide / 2) * scale + SIDE / 2 + 0.1, (y[0] - top - high / 2) * scale + SIDE / 2);
    context.stroke();
  }
}

export default { id, mount };
