// Draw: a sheet, and what the machine sees on it while the pen moves.

import { get, post } from "../api.js";
import { h } from "../dom.js";
import { Guesser } from "../guesser.js";
import { label, percent, t } from "../i18n.js";
import { Sheet } from "../ink.js";
import { tool } from "../pad.js";
import { button, makeSpoken, makeVerdict, reason } from "../parts.js";
import { pick } from "../picker.js";
import { showBitmap } from "../stamp.js";

export const id = "draw";

// Three strokes of a brush, so that no two neighbouring bars are alike.
const BRUSHES = [
  "M3 11C30 6 80 9 130 6S230 5 282 8c10 1 14 3 13 5-30 3-70 1-110 3C120 18 60 14 20 16 8 16 2 14 3 11Z",
  "M4 9C50 7 90 4 150 6s100-1 136 4c8 2 12 3 10 5-26 2-60-1-96 1C140 19 70 13 26 15 10 16 1 13 4 9Z",
  "M2 10C40 9 70 5 120 7s110-3 160 1c12 1 17 4 15 6-20 3-66 0-100 2-60 3-120-2-160 0C14 17 1 14 2 10Z",
];

export function mount(root, { notice, status }) {
  let answer = null;
  let classes = [];
  let announceLater = 0;

  const canvas = h("canvas", { class: "ink", tabindex: 0, role: "img", "aria-label": t("draw.sheet") });
  const invitation = h("p", { class: "invitation", "aria-hidden": "true" }, h("strong", {}, t("draw.invite")), h("span", {}));
  const stamp = h("canvas", { width: 28, height: 28, "aria-hidden": "true" });
  const undo = tool("undo", t("draw.undo"), () => sheet.undo());
  const clear = tool("clear", t("draw.clear"), () => sheet.clear());
  const savePicture = tool("save", t("draw.png"), async () => download(await sheet.picture(), "drawing.png"), t("draw.png.title"));
  const saveStrokes = tool("strokes", t("draw.strokes"), () =>
    download(new Blob([JSON.stringify({ strokes: sheet.strokes })], { type: "application/json" }), "drawing.json"), t("draw.strokes.title"));

  const verdict = makeVerdict();
  const { overline, word, share } = verdict;
  const right = button("stamp-button", t("draw.right"), () => tell(answer.predictions[0].label), { image: "check" });
  const other = button("plain-button", t("draw.other"), choose, { image: "pencil" });
  const rows = BRUSHES.concat(BRUSHES[0]).map(row);
  const guesses = h("ol", { class: "guesses", "aria-label": t("draw.others") }, rows.map(({ item }) => item));
  const seen = h("figure", { class: "seen" }, h("div", { class: "stamp" }, stamp), h("figcaption", {}, t("draw.stamp")));
  const spoken = makeSpoken();

  root.append(
    h("section", { class: "draw blank" },
      h("div", { class: "pad" },
        h("div", { class: "paper" }, invitation, canvas),
        h("div", { class: "tools" }, undo, clear, h("span", { class: "gap" }), savePicture, saveStrokes)),
      h("div", { class: "margin" }, verdict.element,
        h("div", { class: "feedback" }, right, other),
        h("div", { class: "alternatives" }, h("h2", { class: "overline" }, t("draw.others")), guesses),
        seen),
      spoken),
  );
  const section = root.firstElementChild;

  function row(brush, index) {
    const name = h("span", { class: "name" });
    const bar = h("svg", { class: "bar", viewBox: "0 0 300 20", preserveAspectRatio: "none", "aria-hidden": "true" }, h("path", { d: brush }));
    const value = h("span", { class: "value" });
    const choice = h("button", { type: "button", onclick: () => tell(answer.predictions[index + 1].label) }, name, bar, value);
    return { item: h("li", {}, choice), choice, name, bar, value };
  }

  function show() {
    const blank = sheet.strokes.length === 0;
    const judged = !blank && answer !== null;
    section.classList.toggle("blank", blank);
    section.classList.toggle("waiting", !judged);
    section.classList.toggle("unsure", judged && answer.unsure);
    for (const one of [undo, clear, savePicture, saveStrokes]) one.disabled = blank;
    right.disabled = other.disabled = !judged;
    const [best, ...rest] = judged ? answer.predictions : [];
    overline.textContent = judged ? t(answer.unsure ? "draw.unsure" : "draw.see") : "";
    word.textContent = judged ? label(best.label) : t("draw.blank");
    share.textContent = judged ? percent(best.probability) : t("draw.blank.detail");
    verdict.underline(judged ? best.probability : 0);
    rows.forEach(({ item, choice, name, bar, value }, index) => {
      const guess = rest[index];
      item.classList.toggle("empty", !guess);
      choice.disabled = !guess;
      name.textContent = guess ? label(guess.label) : "";
      value.textContent = guess ? percent(guess.probability) : "";
      bar.style.transform = `scaleX(${guess ? Math.max(0.012, guess.probability) : 0})`;
      if (guess) choice.setAttribute("aria-label", `${t("draw.tap", { label: label(guess.label) })} (${percent(guess.probability)})`);
    });
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

  const guesser = new Guesser({
    onanswer(found) {
      answer = found;
      status({ ms: found.ms });
      show();
      announce();
    },
    onerror(error) {
      if (error.status === 0) status({ offline: true });
      else if (error.status !== 503) notice(reason(error), "bad");
    },
  });

  const sheet = new Sheet(canvas, {
    onchange(strokes) {
      showBitmap(stamp, strokes);
      if (strokes.length === 0) {
        guesser.forget();
        answer = null;
        spoken.textContent = "";
      } else guesser.ask(strokes);
      if (strokes.length === 0 || section.classList.contains("blank")) show();
    },
  });

  async function tell(truth) {
    const { id: predictionId, predictions } = answer;
    const correct = truth === predictions[0].label;
    try {
      await post("v1/feedback", { prediction_id: predictionId, label: truth, correct });
      notice(t("draw.thanks", { label: label(truth) }));
    } catch (error) {
      notice(t("draw.feedback.failed", { message: reason(error) }), "bad");
    }
  }

  async function choose() {
    const judged = answer;
    const truth = await pick(classes);
    if (truth === null) return;
    answer = answer ?? judged;
    await tell(truth);
  }

  function keys(event) {
    if (event.target.closest?.("input, dialog")) return;
    const undoes = event.key === "z" || event.key === "Z";
    if (undoes && !event.altKey && !event.shiftKey) sheet.undo();
    else if ((event.key === "Delete" || event.key === "Backspace") && !event.ctrlKey && !event.metaKey) sheet.clear();
    else return;
    event.preventDefault();
  }
  addEventListener("keydown", keys);
  const themed = () => showBitmap(stamp, sheet.strokes);
  addEventListener("inksight:theme", themed);

  get("v1/classes").then((found) => {
    classes = found.classes;
    const ideas = [...classes].sort(() => Math.random() - 0.5).slice(0, 3).map(label);
    if (ideas.length === 3) invitation.lastChild.textContent = t("draw.ideas", { a: ideas[0], b: ideas[1], c: ideas[2] });
  }, () => {});
  show();
  showBitmap(stamp, []);

  return () => {
    clearTimeout(announceLater);
    guesser.forget();
    sheet.dispose();
    removeEventListener("keydown", keys);
    removeEventListener("inksight:theme", themed);
  };
}

function download(blob, name) {
  const link = h("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

export default { id, mount };
