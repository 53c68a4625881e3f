// Draw: a sheet, what the machine sees on it while the pen moves, and on demand which strokes made it say so.

import { EXPLAINED, get, post } from "../api.js";
import { h } from "../dom.js";
import { makeFeedback } from "../feedback.js";
import { Guesser } from "../guesser.js";
import { makeGuesses } from "../guesses.js";
import { label, number, percent, t } from "../i18n.js";
import { makePad, tool } from "../pad.js";
import { button, makeSpoken, makeVerdict, reason } from "../parts.js";
import { chooseDrawingModel } from "../served.js";
import { showBitmap } from "../stamp.js";

export const id = "draw";

const MISSED = 1000; // ms without an answer: shorter is a stumble, of which nobody need hear

let kept = null; // the drawing, for whoever looks at another view and comes back

export function mount(root, { notice, status }) {
  let answer = null;
  let away = false; // the server, when it was last asked
  let model = null; // its name; until it is known, the server's first one answers
  let classes = [];
  let gone = false;
  let announceLater = 0;
  let missed = 0; // runs since the server was not reached
  let question = 0; // about the strokes' weights; an answer to an older one is dropped

  const invitation = h("p", { class: "invitation", "aria-hidden": "true" }, h("strong", {}, t("draw.invite")), h("span", {}));
  const stamp = h("canvas", { width: 28, height: 28, "aria-hidden": "true" });
  const savePicture = tool("save", t("draw.png"), async () => download(await sheet.picture(), "drawing.png"), t("draw.png.title"));
  const saveStrokes = tool("strokes", t("draw.strokes"), () =>
    download(new Blob([JSON.stringify({ strokes: sheet.strokes })], { type: "application/json" }), "drawing.json"), t("draw.strokes.title"));
  const pad = makePad({ onchange: drawn, kept }, savePicture, saveStrokes);
  const { sheet } = pad;
  pad.paper.prepend(invitation);

  const verdict = makeVerdict();
  const { overline, word, share } = verdict;
  const feedback = makeFeedback({ answer: () => answer, classes: () => classes, notice });
  const guesses = makeGuesses({ onpick: (name) => feedback.tell(name) });
  const why = button("plain-button small", t("draw.why"), explain, { "aria-pressed": "false" });
  const because = h("p", { role: "status" });
  const seen = h("figure", { class: "seen" }, h("div", { class: "stamp" }, stamp), 
    h("figcaption", { class: "beside" }, t("draw.stamp"), why, because));
  const chooser = chooseDrawingModel({ onchoice: choose, section: () => section, gone: () => gone });
  const spoken = makeSpoken();

  root.append(
    h("section", { class: "draw blank" },
      pad.element,
      h("div", { class: "margin" }, verdict.element, feedback.element, guesses.element, seen, chooser.element),
      spoken),
  );
  const section = root.firstElementChild;

  function show() {
    const blank = sheet.strokes.length === 0;
    const judged = !blank && !away && answer !== null;
    section.classList.toggle("blank", blank);
    section.classList.toggle("waiting", !judged);
    section.classList.toggle("unsure", judged && answer.unsure);
    savePicture.disabled = saveStrokes.disabled = blank;
    why.disabled = !judged;
    feedback.enable(judged);
    const [best, ...rest] = judged ? answer.predictions : [];
    overline.textContent = judged ? t(answer.unsure ? "draw.unsure" : "draw.see") : "";
    word.textContent = judged ? label(best.label) : t(away ? "status.away" : "draw.blank");
    share.textContent = judged ? percent(best.probability) : t(away ? "draw.away.detail" : "draw.blank.detail");
    verdict.underline(judged ? best.probability : 0);
    guesses.show(rest);
  }

  // Screen readers hear a guess when it has settled, not every change of mind.
  function announce() {
    clearTimeout(announceLater);
    announceLater = setTimeout(() => {
      if (!answer || sheet.drawing) return;
      const [best] = answer.predictions;
      spoken.textContent = t("draw.announce", { label: label(best.label), percent: percent(best.probability) });
    }, 900);
  }

  function reached() {
    clearTimeout(missed);
    missed = 0;
    away = false;
  }

  function missing() {
    away = true;
    status({ offline: true });
    show(); // where one looks for the guess: the foot of the page may be out of sight
    spoken.textContent = `${t("status.away")} ${t("draw.away.detail")}`;
  }

  const guesser = new Guesser({
    onanswer(found) {
      answer = found;
      reached();
      status({ ms: found.ms, by: found.model.name, version: found.model.version });
      show();
      announce();
    },
    onerror(error) {
      if (error.status === 0) {
        missed ||= setTimeout(missing, MISSED);
        return;
      }
      reached();
      if (error.status !== 503) notice(reason(error), "bad");
    },
  }, (strokes) => post("v1/predict", { strokes, top: 5, ...(model && { model }) }));

  function drawn(strokes) {
    forgetWhy();
    showBitmap(stamp, strokes);
    if (strokes.length === 0) {
      guesser.forget();
      answer = null;
      reached();
      spoken.textContent = "";
    } else guesser.ask(strokes);
    if (strokes.length === 0 || section.classList.contains("blank")) show();
  }

  // Each stroke in turn is left out on the server; what the answer loses without it is the stroke's weight.
  async function explain() {
    if (sheet.weights) return forgetWhy();
    const strokes = sheet.strokes.map(([xs, ys]) => [xs.slice(), ys.slice()]);
    const asked = (question += 1);
    try {
      const { importance, prediction } = await post("v1/explain", { strokes, ...(model && { model }) }, { seconds: EXPLAINED });
      if (asked !== question) return;
      const most = Math.max(...importance.map(Math.abs), 1e-9);
      const first = importance.indexOf(Math.max(...importance));
      sheet.weigh(importance.map((value) => value / most));
      why.setAttribute("aria-pressed", "true");
      because.textContent = importance[first] > 0
        ? t("draw.because", { number: number(first + 1), count: number(importance.length), label: label(prediction.label) })
        : t("draw.because.none", { label: label(prediction.label) });
    } catch (error) {
      if (asked === question) notice(reason(error), "bad");
    }
  }

  function forgetWhy() {
    question += 1;
    if (!sheet.weights) return;
    sheet.weigh(null);
    why.setAttribute("aria-pressed", "false");
    because.textContent = "";
  }

  const themed = () => showBitmap(stamp, sheet.strokes);
  addEventListener("inksight:theme", themed);

  async function choose(name) {
    model = name;
    status({ by: name, ms: null });
    forgetWhy();
    guesser.forget(); // what the one before says comes too late
    if (sheet.strokes.length) guesser.ask(sheet.strokes);
    const found = await get(`v1/classes?model=${encodeURIComponent(name)}`).catch(() => ({ classes }));
    if (gone || model !== name) return;
    ({ classes } = found);
    const ideas = [...classes].sort(() => Math.random() - 0.5).slice(0, 3).map(label);
    if (ideas.length === 3) invitation.lastChild.textContent = t("draw.ideas", { a: ideas[0], b: ideas[1], c: ideas[2] });
  }

  pad.open(true);
  show();
  themed();

  return () => {
    gone = true;
    clearTimeout(announceLater);
    reached();
    guesser.forget();
    kept = pad.dispose();
    removeEventListener("inksight:theme", themed);
  };
}

function download(blob, name) {
  const link = h("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

export default { id, mount };
