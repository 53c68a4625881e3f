// Under Review: trains a model on what was accepted, and shows how far that is. Only for tokens that allow "jobs".
//
//   const retraining = makeRetraining({ notice }); retraining.element; retraining.refresh(); retraining.dispose();

import { admin } from "./api.js";
import { h } from "./dom.js";
import { gateText } from "./gates.js";
import { date, number, percent, t } from "./i18n.js";
import { button, detailed, facts } from "./parts.js";

const PAUSE = 1000;
const ACTIVE = ["waiting", "running", "cancelling"];

export function makeRetraining({ notice }) {
  const bar = h("progress", { max: 1, value: 0, "aria-label": t("retrain.progress") });
  const stage = h("p", { class: "stage", role: "status" });
  const element = h("div", { class: "retraining" });
  let job = null; // the one that is shown while it runs
  let timer = 0;
  let disposed = false;
  let allowed = null;

  const failed = (error) => notice(detailed(error), "bad");

  // What could be learnt now, and how the last retrain ended; one that somebody started already is followed.
  async function refresh() {
    if (job) return;
    let page;
    try {
      allowed ??= (await admin.get("v1/token")).scopes.includes("jobs");
      if (!allowed) return;
      page = await admin.get("v1/jobs?limit=20");
    } catch (error) {
      return failed(error);
    }
    if (disposed || job) return;
    const running = page.jobs.find(({ kind, state }) => kind === "retrain" && ACTIVE.includes(state));
    if (running) return follow(running);
    const last = page.jobs.find(({ kind }) => kind === "retrain");
    if (last && !element.querySelector(".outcome")) {
      const told = await admin.get(`v1/jobs/${last.id}`).catch(() => null);
      if (disposed || job) return;
      if (told) element.replaceChildren(outcome(told));
    }
    const buttons = Object.entries(page.to_learn).map(([model, count]) =>
      button("plain-button", t("retrain.start", { model, count: number(count) }), () => start(model)));
    element.replaceChildren(...buttons, ...element.querySelectorAll(".outcome"));
  }

  async function start(model) {
    element.replaceChildren();
    try {
      // Whoever presses the button has seen how many there are.
      follow(await admin.post("v1/jobs", { kind: "retrain", model, settings: { at_least: 1 } }));
    } catch (error) {
      failed(error);
      refresh();
    }
  }

  function follow(found) {
    job = found;
    const cancel = button("quiet", t("retrain.cancel"), async () => {
      cancel.disabled = true;
      await admin.post(`v1/jobs/${job.id}/cancel`, {}).catch(failed);
    });
    element.replaceChildren(stage, bar, cancel);
    show();
    timer = setTimeout(ask, PAUSE);
  }

  async function ask() {
    try {
      job = await admin.get(`v1/jobs/${job.id}`);
    } catch (error) {
      if (error.status === 401 || error.status === 403) return;
      // The service may be away for a moment; the job goes on without it.
    }
    if (disposed) return;
    show();
    if (ACTIVE.includes(job.state)) {
      timer = setTimeout(ask, PAUSE);
      return;
    }
    element.replaceChildren(outcome(job));
    job = null;
    refresh();
  }

  function show() {
    const { stage: name = "starting", share = 0 } = job.progress ?? {};
    bar.value = share;
    stage.textContent = job.state === "cancelling" ? t("retrain.cancelling")
      : t("retrain.running", { model: job.model, stage: t(`retrain.stage.${name}`), percent: percent(share) });
  }

  return { element, refresh, dispose() { disposed = true; clearTimeout(timer); } };
}

// How a retrain ended, in the reader's words, and what one can do then.
function outcome({ state, result, error, finished_at: ended }) {
  const told = h("div", { class: `outcome ${state === "done" ? result.outcome : state}`, role: "status" },
    h("p", { class: "overline" }, t("retrain.last", { when: date(ended) })));
  if (state === "cancelled") told.append(h("p", {}, t("retrain.cancelled")));
  else if (state === "failed") told.append(h("p", {}, t("retrain.failed", { message: result?.error ? detailed(result.error) : error })));
  else told.append(...judged(result));
  return told;
}

function judged({ outcome: name, version, corrections, test, held_back: held, gates }) {
  const change = ({ old, new: now, n }) => t("retrain.change", { old: percent(old, 1), new: percent(now, 1), count: number(n) });
  const said = [h("p", {}, t(`retrain.${name}`, { version, count: number(corrections.new ?? 0) })),
    test && h("dl", { class: "tally" }, facts([[t("retrain.test"), change(test)], ...held ? [[t("retrain.held"), change(held)]] : []]))];
  if (name === "refused") {
    said.push(h("ul", {}, gates.filter(({ passed }) => !passed).map((answer) => h("li", {}, gateText(answer)))),
      h("p", { class: "now" }, t("retrain.now"), " ", h("a", { href: `#/models/${version.split(":")[0]}` }, t("retrain.models", { version }))));
  }
  const left = Object.entries(corrections.left_out ?? {}).map(([why, count]) => t(`retrain.left.${why}`, { count: number(count) }));
  if (left.length) said.push(h("p", { class: "now" }, t("retrain.left", { list: left.join(", ") })));
  return said.filter(Boolean);
}
