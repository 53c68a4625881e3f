// How far people agree, by class and by day, as GET /v1/corrections/statistics tells it.

import { h } from "./dom.js";
import { day, label, number, percent, t } from "./i18n.js";
import { stroke } from "./metrics.js";

export function makeAgreement() {
  const inside = h("div", { class: "agreement" });
  const element = h("details", {}, h("summary", {}, t("review.agreement")), inside);
  const cell = (share) => h("td", {}, share === null ? "–"
    : [stroke(share.share, [share.low, share.high]),
      h("span", { class: "agreed" }, percent(share.share), " ", h("span", { class: "of" }, t("review.of", { count: number(share.n) })))]);
  const table = (head, rows) => h("table", { class: "classes" },
    h("thead", {}, h("tr", {}, [head, t("review.head.players"), t("review.head.reviewers")].map((text) => h("th", { scope: "col" }, text)))),
    h("tbody", {}, rows.map(([name, row]) => h("tr", {}, h("th", { scope: "row" }, name), cell(row.players_agreed), cell(row.reviewers_agreed)))));

  function show({ by_class: classes, by_day: days, machine_right: right }) {
    element.hidden = classes.length === 0;
    inside.replaceChildren(
      ...(right ? [h("p", {}, t("review.machine.right", { percent: percent(right.share), low: percent(right.low), high: percent(right.high), count: number(right.n) }))] : []),
      table(t("review.head.class"), classes.map((row) => [label(row.label), row])),
      table(t("review.head.day"), [...days].reverse().map((row) => [h("span", { class: "agreed" }, day(row.day)), row])));
  }

  return { element, show };
}
