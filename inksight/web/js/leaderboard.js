// The leaderboard, and the line on which a player writes a name. Names are text: they are never parsed as HTML.

import { get, post } from "./api.js";
import { h } from "./dom.js";
import { number, t } from "./i18n.js";
import { reason } from "./parts.js";
import { read, write } from "./store.js";

const PERIODS = ["day", "week", "all"];
const STORED = "inksight.name";

export const savedName = () => read("localStorage", STORED) ?? "";
export const saveName = (name) => write("localStorage", STORED, name);

// Each difficulty of a game, or each model that one plays against, has a board of its own, named above it by `title`:
//
//   const board = leaderboard("eye");
//   board.show({ level: "hard", title: "Hard" });
//   board.refresh();                                   after a score was entered
export function leaderboard(game) {
  let period = "day";
  let shown = {};
  const tabs = PERIODS.map((name) =>
    h("button", { class: "quiet", type: "button", onclick: () => { period = name; refresh(); } }, t(`board.${name}`)));
  const head = h("h2", { class: "overline" });
  const list = h("ol", { class: "board" });
  const element = h("section", { class: "leaderboard", "aria-label": t("board.title") },
    head, h("div", { class: "tabs" }, tabs), list);

  async function refresh() {
    const [wanted, of] = [period, shown];
    const { title, ...board } = shown;
    head.textContent = [t("board.title"), title].filter(Boolean).join(" · ");
    tabs.forEach((tab, index) => tab.setAttribute("aria-pressed", String(PERIODS[index] === period)));
    const { scores } = await get(`v1/leaderboard?${new URLSearchParams({ game, period, ...board })}`).catch(() => ({ scores: [] }));
    if (wanted !== period || of !== shown) return;
    list.replaceChildren(...(scores.length
      ? scores.slice(0, 8).map(({ name, score }, index) =>
        h("li", {}, h("span", { class: "rank" }, number(index + 1)), h("span", { class: "who" }, name), h("span", { class: "value" }, number(score))))
      : [h("li", { class: "none" }, t("board.none"))]));
  }

  return { element, refresh, show(board) { shown = board; refresh(); } };
}

export function nameForm(gameId, { onentered, notice }) {
  const field = h("input", { type: "text", maxlength: 20, autocomplete: "nickname", spellcheck: "false", "aria-label": t("board.name"), placeholder: t("board.name") });
  field.value = savedName();
  const button = h("button", { class: "stamp-button", type: "submit" }, t("board.enter"));
  const form = h("form", { class: "sign" }, field, button);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (!field.value.trim()) return field.focus();
    button.disabled = true;
    try {
      const { name, ranks } = await post(`v1/games/${gameId}/score`, { name: field.value });
      saveName(name);
      form.replaceWith(h("p", { class: "signed", role: "status" }, t("board.entered", { name, day: number(ranks.day), all: number(ranks.all) })));
      onentered();
    } catch (error) {
      button.disabled = false;
      notice(error.status === 422 ? t("board.unfit") : reason(error), "bad");
    }
  });
  return form;
}
