// A model's numbers: shares with their intervals as strokes of ink, and its classes with how many pictures each had.

import { h } from "./dom.js";
import { label, number, percent, t } from "./i18n.js";
import { button } from "./parts.js";

const FIRST = 12;

// A stroke from low to high on a line from 0 to 1, with a red dot at the value.
export function stroke(value, interval) {
  const [low, high] = interval ?? [value, value];
  return h("svg", { class: "interval", viewBox: "0 0 200 12", preserveAspectRatio: "none", "aria-hidden": "true" },
    h("line", { class: "whole", x1: 0, x2: 200, y1: 6, y2: 6 }),
    h("line", { class: "likely", x1: 200 * low, x2: 200 * Math.max(high, low + 0.005), y1: 6, y2: 6 }),
    h("line", { class: "value-mark", x1: 200 * value, x2: 200 * value, y1: 0, y2: 12 }));
}

const spread = (interval) => (interval ? ` (${percent(interval[0], 1)} – ${percent(interval[1], 1)})` : "");

function row(name, value, interval) {
  return h("div", {}, h("dt", {}, name), h("dd", {}, stroke(value, interval), h("span", {}, h("strong", {}, percent(value, 1)), spread(interval))));
}

export function numbers(metrics) {
  const shares = ["accuracy", "top_3", "balanced_accuracy"].filter((key) => typeof metrics[key] === "number");
  const worst = metrics.worst_class;
  return h("dl", { class: "shares" },
    shares.map((key) => row(t(`models.${key}`), metrics[key], metrics[`${key}_interval`])),
    worst && row(t("models.worst", { label: label(worst.class) }), worst.accuracy, worst.interval));
}

// Class balance and accuracy in one table, the worst first; long ones are opened on demand.
export function classTable(labels, metrics, counts) {
  const trained = labels.map((name) => (typeof counts?.train === "object" ? counts.train[name] ?? 0 : null));
  const rows = labels.map((name, index) => ({ name, ...(metrics.per_class?.[name] ?? {}), pictures: trained[index] ?? metrics.per_class?.[name]?.samples ?? null }));
  rows.sort((a, b) => (a.accuracy ?? 2) - (b.accuracy ?? 2) || a.name.localeCompare(b.name));
  const most = Math.max(1, ...rows.map(({ pictures }) => pictures ?? 0));
  const body = h("tbody");
  const line = ({ name, accuracy, interval, pictures }) => h("tr", {}, h("th", { scope: "row" }, label(name)),
    h("td", {}, pictures === null ? "–" : [h("svg", { class: "heap", viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true" }, h("rect", { width: 100 * pictures / most, height: 10 })), number(pictures)]),
    h("td", {}, typeof accuracy === "number" ? [stroke(accuracy, interval), percent(accuracy)] : "–"));
  const show = (count) => body.replaceChildren(...rows.slice(0, count).map(line));
  show(FIRST);
  const more = rows.length > FIRST && button("quiet", t("models.all", { count: number(rows.length) }), () => { show(rows.length); more.remove(); });
  const sizes = rows.map(({ pictures }) => pictures).filter((count) => count !== null);
  const balance = sizes.length > 1 && h("p", { class: "small-print" }, t("models.balance", { least: number(Math.min(...sizes)), most: number(Math.max(...sizes)) }));
  return [balance,
    h("table", { class: "classes" }, h("thead", {}, h("tr", {}, h("th", { scope: "col" }, t("models.class")),
      h("th", { scope: "col" }, t(typeof counts?.train === "object" ? "models.trained" : "models.tested")), h("th", { scope: "col" }, t("models.accuracy")))), body),
    more];
}
