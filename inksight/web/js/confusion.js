// What a model takes for what: the matrix in shades of ink where it fits, and the worst errors in words in any case.

import { h } from "./dom.js";
import { label, number, percent, t } from "./i18n.js";

const READABLE = 20; // classes up to which every number is written into its field
const ERRORS = 10;

// `classes` in the model's order; `confusion` {matrix, errors: [[truth, answer, count], ...]} as a bundle carries it.
export function confusionPart(classes, confusion) {
  const { matrix, errors } = confusion;
  const totals = matrix?.map((row) => row.reduce((sum, count) => sum + count, 0));
  const shown = errors.slice(0, ERRORS);
  const list = h("ol", { class: "errors" }, shown.map(([truth, answer, count]) =>
    h("li", {}, h("strong", {}, label(classes[truth])), ` ${t("models.taken")} `, h("strong", {}, label(classes[answer])),
      h("span", { class: "value" }, totals ? t("models.times.of", { count: number(count), total: number(totals[truth]) }) : t("models.times", { count: number(count) })))));
  return [
    matrix && h("p", { class: "small-print" }, t("models.matrix.how")),
    matrix && (classes.length <= READABLE ? table(classes, matrix, totals) : picture(classes, matrix, totals)),
    shown.length ? list : h("p", {}, t("models.no.errors")),
  ];
}

function table(classes, matrix, totals) {
  return h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": t("models.confusion") }, h("table", { class: "matrix" },
    h("caption", { class: "unseen" }, t("models.matrix.how")),
    h("thead", {}, h("tr", {}, h("td"), classes.map((name) => h("th", { scope: "col" }, h("span", {}, label(name)))))),
    h("tbody", {}, matrix.map((row, truth) => h("tr", {}, h("th", { scope: "row" }, label(classes[truth])),
      row.map((count, answer) => h("td", { class: `${truth === answer ? "hit" : "miss"} s${shade(count / (totals[truth] || 1))}` }, count ? number(count) : "")))))));
}

// Eight shades, with none between those that dark letters and those that light letters can be read on.
function shade(share) {
  return [0, 0.02, 0.05, 0.1, 0.2, 0.5, 0.8].filter((least) => share > least).length;
}

function picture(classes, matrix, totals) {
  const side = 12;
  const canvas = h("canvas", { class: "matrix-picture", width: side * classes.length, height: side * classes.length, role: "img", "aria-label": t("models.matrix.picture", { count: number(classes.length) }) });
  const draw = () => {
    const context = canvas.getContext("2d");
    const style = getComputedStyle(canvas);
    context.clearRect(0, 0, canvas.width, canvas.height);
    matrix.forEach((row, truth) => row.forEach((count, answer) => {
      if (!count) return;
      // Mistakes are rare: a twentieth of a class must be seen beside the full squares of the diagonal.
      context.globalAlpha = 0.12 + 0.88 * (count / totals[truth]) ** 0.45;
      context.fillStyle = truth === answer ? style.color : style.getPropertyValue("--accent");
      context.fillRect(side * answer + 1, side * truth + 1, side - 2, side - 2);
    }));
  };
  canvas.addEventListener("pointermove", (event) => {
    const box = canvas.getBoundingClientRect();
    const [answer, truth] = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height].map((part) => Math.min(classes.length - 1, Math.floor(part * classes.length)));
    canvas.title = `${label(classes[truth])} → ${label(classes[answer])}: ${percent(matrix[truth][answer] / (totals[truth] || 1))}`;
  });
  // The colours are known only once it is on the page.
  requestAnimationFrame(draw);
  canvas.addEventListener("inksight:redraw", draw);
  return canvas;
}
