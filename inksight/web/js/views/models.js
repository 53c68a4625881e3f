// Models: what each one can do and what it confuses; with a token its versions, promotion and rollback. One of them by
// its address (#/models/NAME).

import { get, persist } from "../api.js";
import { confusionPart } from "../confusion.js";
import { h } from "../dom.js";
import { number, percent, t } from "../i18n.js";
import { classTable, numbers } from "../metrics.js";
import { button, facts, reason } from "../parts.js";
import { servedModels } from "../served.js";
import { versionsPart } from "../versions.js";

export const id = "models";

export function mount(root, { notice }) {
  const tabs = h("div", { class: "tabs" });
  const head = h("div", { class: "headline" });
  const sheet = h("div", { class: "record" });
  const desk = h("div");
  root.append(h("section", { class: "models" }, tabs, head, h("div", { class: "columns" }, sheet, desk)));
  let name = null;
  let turn = 0; // which tab was pressed last; what comes late for another one is dropped
  let gone = false;

  async function open(wanted) {
    const mine = (turn += 1);
    name = wanted;
    for (const tab of tabs.children) tab.setAttribute("aria-pressed", String(tab.textContent === name));
    head.replaceChildren(h("h1", { class: "word" }, name));
    for (const part of [sheet, desk]) part.replaceChildren();
    const late = () => gone || mine !== turn;
    let found;
    try {
      found = await persist(refresh, { gone: late, failed: tell });
    } catch (error) {
      return late() || tell(error);
    }
    if (late()) return;
    // Without versions there is nothing for which to ask for a token.
    if (!found.registered) return desk.replaceChildren(h("p", {}, t("models.unregistered")));
    desk.replaceChildren(versionsPart({ model: name, onlook: (version) => late() || show(version), notice,
      onmoved: () => refresh().catch((error) => gone || notice(reason(error), "bad")) }));
  }

  async function refresh() {
    const asked = turn;
    const found = await get(`v1/models/${encodeURIComponent(name)}`);
    if (!gone && asked === turn) show({ ...found, live: true });
    return found;
  }

  // Why there is no record; said once, however often it is asked for.
  function tell(error) {
    const text = error.status === 0 ? t("status.offline") : reason(error);
    if (sheet.textContent !== text) sheet.replaceChildren(h("p", { role: "status" }, text));
  }

  function show(model) {
    const { metrics, dataset } = model;
    const own = typeof dataset.counts?.train === "object" ? Object.values(dataset.counts.train).reduce((sum, count) => sum + count, 0) : dataset.counts?.train;
    head.replaceChildren(
      h("p", { class: "overline" }, [t("models.version", { version: model.version }), model.live ? t("models.live") : t("models.not.live")].join(" · ")),
      h("h1", { class: "word" }, name),
      h("dl", { class: "tally" }, facts([
        [t("models.classes"), number(model.labels.length)],
        ["parameters" in model.architecture ? t("models.parameters") : null, number(model.architecture.parameters ?? 0)],
        [own ? t("models.trained") : null, number(own ?? 0)],
        [model.model_ms !== undefined ? t("models.speed") : null, t("models.ms", { ms: number(model.model_ms ?? 0, 2) })],
      ].filter(([fact]) => fact !== null))));
    const measured = typeof metrics.accuracy === "number";
    sheet.replaceChildren(
      h("h2", { class: "overline" }, t("models.numbers")),
      ...(measured
        ? [h("p", { class: "small-print" }, [metrics.samples ? t("models.split", { count: number(metrics.samples), split: metrics.split ?? "test" }) : null, t("models.interval"),
          typeof metrics.expected_calibration_error === "number" ? t("models.calibration", { percent: percent(metrics.expected_calibration_error, 1) }) : null].filter(Boolean).join(" ")), numbers(metrics)]
        : [h("p", {}, t("models.unmeasured.how"))]),
      h("h2", { class: "overline" }, t("models.confusion")),
      ...(metrics.confusion ? confusionPart(model.labels, metrics.confusion) : [h("p", {}, t("models.no.matrix"))]).filter(Boolean),
      h("h2", { class: "overline" }, t("models.balance.title")),
      ...classTable(model.labels, metrics, dataset.counts).filter(Boolean));
  }

  async function learn() {
    const models = await servedModels({ gone: () => gone, failed: tell });
    if (gone) return;
    tabs.hidden = models.length < 2;
    // A press does not wait for the record: while the server is away, the same tab may be pressed again.
    tabs.replaceChildren(...models.map(({ name: its }) => button("quiet", its, () => {
      history.replaceState(history.state, "", `#/models/${encodeURIComponent(its)}`); // so that the page, loaded again, shows it
      open(its);
    })));
    const asked = location.hash.split("/")[2];
    await open((models.find((model) => [model.name, encodeURIComponent(model.name)].includes(asked)) ?? models[0]).name);
  }

  const themed = () => root.querySelector(".matrix-picture")?.dispatchEvent(new Event("inksight:redraw"));
  addEventListener("inksight:theme", themed);
  learn();
  return () => {
    gone = true;
    removeEventListener("inksight:theme", themed);
  };
}

export default { id, mount };
