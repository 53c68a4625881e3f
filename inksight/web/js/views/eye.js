// Eye vs AI: the same picture and labels for player and machine. The machine is bound to its answer by a SHA-256.

import { post } from "../api.js";
import { h } from "../dom.js";
import { label, number, t } from "../i18n.js";
import { leaderboard, nameForm } from "../leaderboard.js";

export const id = "eye";

const LEVELS = ["easy", "normal", "hard"];

export function mount(root, { notice, status }) {
  let level = "normal";
  let game = null;
  let round = null;
  let clock = 0;
  let gone = false;

  const overline = h("p", { class: "overline" });
  const word = h("p", { class: "word" });
  const share = h("span", { class: "share", role: "timer" });
  const line = h("svg", { class: "underline", viewBox: "0 0 400 14", preserveAspectRatio: "none", "aria-hidden": "true" },
    h("path", { d: "M4 9C60 3 120 12 190 6s120-4 206 2" }));
  const verdict = h("div", { class: "verdict" }, overline, word, line, share);
  const choices = h("div", { class: "choices" });
  const proof = h("p", { class: "proof" });
  const tally = h("dl", { class: "tally" });
  const board = leaderboard("eye", level);
  const photo = h("img", { class: "photo", alt: "" });
  const cover = h("div", { class: "cover" }, h("p", { class: "title" }, t("view.eye")), h("p", {}, t("eye.rules")), h("p", { class: "small" }, t("eye.fair")));
  const spoken = h("p", { class: "unseen", role: "status", "aria-live": "polite" });
  root.append(h("section", { class: "draw game eye" },
    h("div", { class: "pad" }, h("div", { class: "paper" }, photo, cover)),
    h("div", { class: "margin" }, verdict, choices, proof, h("div", { class: "standing" }, tally), board.element), spoken));
  const section = root.firstElementChild;

  const button = (kind, text, onclick, properties = {}) => h("button", { class: kind, type: "button", onclick, ...properties }, text);
  const underlined = (part) => { line.style.clipPath = `inset(-8px ${100 * (1 - part)}% -8px 0)`; };
  const failed = (error) => notice(error.message ? `${error.message} ${error.hint}` : t("status.offline"), "bad");

  function intro() {
    overline.textContent = t("eye.level");
    word.textContent = t("pictionary.ready");
    underlined(0);
    const levels = LEVELS.map((name) => button("quiet", t(`eye.${name}`), () => { level = name; board.setLevel(name); intro(); }, { "aria-pressed": String(name === level) }));
    choices.replaceChildren(h("div", { class: "levels" }, levels), button("stamp-button", t("pictionary.start"), begin));
  }

  async function begin() {
    try {
      game = await post("v1/eye/games", { level });
      await next();
    } catch (error) {
      failed(error);
    }
  }

  async function next() {
    let asked;
    try {
      asked = await post(`v1/eye/games/${game.id}/rounds`, {});
    } catch (error) {
      return failed(error);
    }
    if (gone) return;
    round = { ...asked, deadline: performance.now() + 1000 * asked.seconds };
    section.className = "draw game eye playing";
    photo.src = asked.image;
    photo.alt = t("eye.picture");
    overline.textContent = t("eye.round", { number: number(asked.number), rounds: number(game.rounds) });
    word.textContent = t("eye.what");
    proof.replaceChildren(t("eye.bound"), " ", h("code", {}, asked.commitment));
    choices.replaceChildren(...asked.options.map((name, index) => button("plain-button", `${index + 1} · ${label(name)}`, () => answer(name))));
    choices.firstElementChild.focus({ preventScroll: true });
    showScores();
    clearInterval(clock);
    clock = setInterval(tick, 100);
    tick();
  }

  function tick() {
    const left = Math.max(0, (round.deadline - performance.now()) / 1000);
    share.textContent = number(Math.ceil(left));
    underlined(left / round.seconds);
    section.classList.toggle("hurry", left <= 3);
    if (left === 0) answer(null);
  }

  async function answer(choice) {
    if (!round) return;
    const asked = round;
    round = null;
    clearInterval(clock);
    let told;
    try {
      told = await post(`v1/rounds/${asked.id}/answer`, { label: choice });
    } catch (error) {
      failed(error);
      return choices.replaceChildren(button("stamp-button", t("eye.next"), next));
    }
    if (gone) return;
    game = told.standing;
    section.className = `draw game eye over ${told.correct ? "won" : "lost"}`;
    overline.textContent = told.correct ? t("game.points", { points: number(told.points) }) : t(choice === null || told.late ? "eye.late" : "eye.wrong");
    word.textContent = label(told.truth);
    share.textContent = "";
    underlined(told.correct ? 1 : 0);
    const own = await commitment(told.salt, told.machine);
    proof.replaceChildren(t(told.machine_correct ? "eye.machine.right" : "eye.machine.wrong", { label: label(told.machine) }), " ",
      h("strong", {}, t(own === null ? "eye.unchecked" : own === asked.commitment ? "eye.kept" : "eye.broken")), " ", h("code", {}, `${told.salt}:${told.machine}`));
    spoken.textContent = `${overline.textContent}: ${word.textContent}`;
    const go = game.state === "done" ? button("stamp-button", t("pictionary.result"), finale) : button("stamp-button", t("eye.next"), next);
    choices.replaceChildren(go);
    go.focus({ preventScroll: true });
    showScores();
  }

  function showScores() {
    tally.replaceChildren(...[[t("eye.you"), game.score], [t("eye.machine"), game.machine_score], [t("game.streak"), game.streak]].map(([name, value]) =>
      h("div", {}, h("dt", {}, name), h("dd", {}, number(value)))));
  }

  function finale() {
    const title = h("h1", { class: "word", tabindex: -1 }, t(game.score > game.machine_score ? "eye.victory" : game.score < game.machine_score ? "eye.defeat" : "eye.draw"));
    section.replaceWith(h("section", { class: "finale" },
      h("div", { class: "headline" }, h("p", { class: "overline" }, t("game.result")), title,
        h("p", {}, t("eye.summary", { score: number(game.score), machine: number(game.machine_score), streak: number(game.best_streak) }))),
      h("div", { class: "honours" }, nameForm(game.id, { onentered: board.refresh, notice }), board.element),
      h("div", { class: "feedback" }, button("plain-button", t("pictionary.again"), () => { undo(); root.replaceChildren(); undo = mount(root, { notice, status }); }))));
    title.focus({ preventScroll: true });
  }

  function keys(event) {
    const name = round?.options[Number(event.key) - 1];
    if (name) answer(name);
  }
  addEventListener("keydown", keys);
  intro();
  let undo = () => {
    gone = true;
    clearInterval(clock);
    removeEventListener("keydown", keys);
  };
  return () => undo();
}

// crypto.subtle is there on https and on this machine itself; elsewhere the machine's word cannot be checked here.
async function commitment(salt, name) {
  if (!globalThis.crypto?.subtle) return null;
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(`${salt}:${name}`));
  return [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

export default { id, mount };
