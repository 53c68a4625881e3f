// A model's versions, for those who hold a token: look at one, promote it through the gates, roll back.

import { admin } from "./api.js";
import { h } from "./dom.js";
import { makeGate, refused } from "./gate.js";
import { gateText } from "./gates.js";
import { date, number, percent, t } from "./i18n.js";
import { button, detailed } from "./parts.js";

const MOVES = 5;

// What the program noted is said in the reader's language; what people wrote stays as it is.
const noteText = ({ note, own_note: own }) => (own ? t(`notes.${own.code}`, own.values) : note);

// versionsPart({ model: "doodle", onlook: (version) => ..., onmoved: () => ..., notice })
export function versionsPart({ model, onlook, onmoved, notice }) {
  const element = h("div", { class: "versions" });
  const path = `v1/models/${encodeURIComponent(model)}`;
  let alias = "champion";
  let looked = null; // the number of the version that is shown, where it is not the one that answers

  function ask(error = null) {
    const gate = makeGate({ title: t("models.versions"), text: t("models.gate"), scope: "models", error, onopen: open });
    element.replaceChildren(gate.element);
    if (error) gate.field.focus();
  }

  function failed(error) {
    if (!refused(error)) return notice(detailed(error), "bad");
    ask(error);
  }

  async function open(outcome = null) {
    let found;
    try {
      found = await admin.get(`${path}/aliases`);
    } catch (error) {
      return failed(error);
    }
    const names = [...new Set(["champion", "candidate", ...Object.keys(found.aliases)])];
    const picker = h("select", { id: "alias", onchange: () => { alias = picker.value; open(); } }, names.map((name) => h("option", { value: name }, name)));
    picker.value = alias;
    const picking = document.activeElement?.id === picker.id;
    const within = element.contains(document.activeElement);
    const at = found.aliases[alias];
    const back = found.rollbacks[alias];
    element.replaceChildren(...[
      h("h2", { class: "overline" }, t("models.versions")),
      h("p", { class: "moving" }, h("label", { for: "alias" }, t("models.alias")), picker,
        button("plain-button small", back ? t("models.rollback.to", { version: back }) : t("models.rollback"),
          () => move({ action: "rollback", alias }), { disabled: !back })),
      outcome,
      h("ol", { class: "version-list" }, found.versions.map((version) => item(version, at))),
      found.moves.length > 0 && h("h3", { class: "overline" }, t("models.moves")),
      h("ol", { class: "moves" }, found.moves.slice(0, MOVES).map((moved) => h("li", {}, h("span", {}, date(moved.at)), " · ",
        t(moved.forced ? "models.moved.forced" : "models.moved", { alias: moved.alias, previous: moved.previous ?? "–", version: moved.version }), moved.note && h("em", {}, ` ${noteText(moved)}`)))),
      button("quiet", t("review.leave"), () => { admin.forget(); ask(); }),
    ].filter(Boolean));
    // What had the focus was made anew.
    if (picking) picker.focus({ preventScroll: true });
    else if (within && outcome) {
      outcome.tabIndex = -1;
      outcome.focus({ preventScroll: true });
    }
  }

  function item(version, at) {
    const interval = version.accuracy_interval;
    const shown = looked === null ? version.live : version.version === looked;
    return h("li", { class: version.version === at ? "now" : "", "aria-current": shown && "true" },
      h("p", { class: "which-one" }, h("strong", {}, t("models.version", { version: version.version })),
        version.aliases.map((name) => h("span", { class: "seal" }, name)), version.live && h("span", { class: "seal live" }, t("models.live"))),
      h("p", { class: "small-print" }, date(version.created_at), " · ",
        version.accuracy === null ? t("models.unmeasured") : `${percent(version.accuracy, 1)}${interval ? ` (${percent(interval[0], 1)} – ${percent(interval[1], 1)})` : ""}`,
        " · ", t("models.megabytes", { size: number(version.bytes / 1e6, 2) }), version.note && ` · ${noteText(version)}`),
      h("p", { class: "acts" }, button("quiet", t("models.look"), ({ target }) => look(version.version, target.closest("li")), { "aria-label": `${t("models.look")}: ${version.version}` }),
        button("plain-button small", t("models.promote"), () => move({ action: "promote", alias, version: version.version }),
          { disabled: version.version === at, "aria-label": `${t("models.promote")}: ${version.version}` })));
  }

  async function look(version, row) {
    try {
      onlook(await admin.get(`${path}/versions/${version}`));
      looked = version;
      for (const other of row.parentElement.children) other.ariaCurrent = other === row ? "true" : null;
    } catch (error) {
      failed(error);
    }
  }

  async function move(wish) {
    try {
      const done = await admin.post(`${path}/aliases`, wish);
      onmoved();
      looked = null;
      await open(done.gates.length ? judged(t("models.moved.now", { alias: wish.alias, version: done.version }), done.gates, "passed")
        : h("p", { role: "status" }, t("models.moved.now", { alias: wish.alias, version: done.version })));
    } catch (error) {
      if (error.code !== "gate_refused") return failed(error);
      await refuse(wish);
    }
  }

  // The refusal is one sentence of the server's; why, in the reader's language, is asked for.
  async function refuse(wish) {
    try {
      const { gates } = await admin.get(`${path}/versions/${wish.version}/gates?alias=${encodeURIComponent(wish.alias)}`);
      await open(judged(t("gates.refused", wish), gates.filter(({ passed }) => !passed), "refused",
        button("plain-button small", t("models.force"), () => move({ ...wish, force: true }))));
    } catch (error) {
      failed(error);
    }
  }

  function judged(title, answers, kind, act = null) {
    return h("div", { class: `judged ${kind}`, role: kind === "refused" ? "alert" : "status" }, h("p", {}, h("strong", {}, title)),
      h("ul", {}, answers.map((answer) => h("li", {}, gateText(answer)))), act);
  }

  if (admin.token) open();
  else ask();
  return element;
}
