// Eye vs AI: the same picture and labels for player and machine. The machine is bound to its answer by a SHA-256.

import { get, persist, post } from "../api.js";
import { h } from "../dom.js";
import { label, number, t } from "../i18n.js";
import { leaderboard, nameForm } from "../leaderboard.js";
import { button, facts, makeClock, makeHeadline, makeSpoken, makeVerdict, reason } from "../parts.js";
import { sha256 } from "../sha256.js";

export const id = "eye";

const RIGHT = 100; // points for a right answer, the machine's and a person's; a person gets more for being fast
const LEVELS = ["easy", "normal", "hard"];
let level = "normal"; // also of the next game

export function mount(root, { notice, status, again }) {
  let game = null;
  let round = null;
  let right = 0; // answers of the player's
  let gone = false;
  let entered = false; // on the leaderboard: until then the score is this page's alone

  const verdict = makeVerdict();
  const { overline, word, share } = verdict;
  share.setAttribute("role", "timer");
  const choices = h("div", { class: "choices" });
  const proof = h("p", { class: "proof" });
  const tally = h("dl", { class: "tally" });
  const board = leaderboard("eye");
  const photo = h("img", { class: "photo", alt: "" });
  const cover = h("div", { class: "cover" }, h("p", { class: "title" }, t("view.eye")), h("p", {}, t("eye.rules")), h("p", { class: "small" }, t("eye.fair")));
  const spoken = makeSpoken();
  root.append(h("section", { class: "draw game eye" },
    h("div", { class: "pad" }, h("div", { class: "paper" }, photo, cover)),
    h("div", { class: "margin" }, verdict.element, choices, proof, h("div", { class: "standing" }, tally), board.element), spoken));
  const section = root.firstElementChild;

  const clock = makeClock({ verdict, section, hurry: 3, onend: () => answer(null) });
  const failed = (error) => notice(reason(error), "bad");
  const showBoard = () => board.show({ level, title: t(`eye.${level}`) });

  function intro(chosen = null) {
    overline.textContent = t("eye.level");
    word.textContent = t("pictionary.ready");
    const levels = LEVELS.map((name) => button("quiet", t(`eye.${name}`), () => { level = name; showBoard(); intro(name); }, { "aria-pressed": String(name === level) }));
    choices.replaceChildren(h("div", { class: "levels" }, levels), h("p", { class: "how" }, h("span", { role: "status" }, t(`eye.${level}.how`)), " ", t("eye.bonus")), button("stamp-button", t("pictionary.start"), begin));
    // They were made anew; whoever chose one by keyboard goes on from there.
    if (chosen) levels[LEVELS.indexOf(chosen)].focus();
  }

  async function begin() {
    try {
      game = await post("v1/eye/games", { level });
    } catch (error) {
      // Without pictures there is no game here, and another try would not help.
      return error.status === 409 ? section.replaceWith(noPictures()) : failed(error);
    }
    status({ by: game.model.name, version: game.model.version, ms: null });
    await next();
  }

  async function next() {
    let asked;
    try {
      asked = await post(`v1/eye/games/${game.id}/rounds`, {});
    } catch (error) {
      if (error.status !== 409) return failed(error);
      // The last answer was lost on its way, and the round with it: the game is over. If it is not, no model fits any more.
      const { state } = await get(`v1/games/${game.id}`).catch(() => game);
      if (state === "playing") failed(error);
      game = await post(`v1/games/${game.id}/end`, {}).catch(() => game);
      return gone || finale();
    }
    if (gone) return;
    round = asked;
    section.className = "draw game eye playing";
    photo.src = asked.image;
    photo.alt = t("eye.picture");
    overline.textContent = t("eye.round", { number: number(asked.number), rounds: number(game.rounds), level: t(`eye.${game.level}`) });
    word.textContent = t("eye.what");
    proof.replaceChildren(t("eye.bound"), " ", h("code", {}, asked.commitment));
    choices.replaceChildren(...asked.options.map((name, index) => button("plain-button", `${index + 1} · ${label(name)}`, () => answer(name))));
    choices.firstElementChild.focus({ preventScroll: true });
    verdict.element.scrollIntoView({ block: "nearest" }); // the clock: "Start" is below the sheet on a small phone
    showScores();
    clock.start(asked.seconds);
  }

  async function answer(choice) {
    if (!round) return;
    const asked = round;
    round = null;
    clock.stop();
    let told;
    try {
      told = await persist(() => post(`v1/rounds/${asked.id}/answer`, { label: choice }),
        { gone: () => gone, failed: ({ status: code }) => status({ offline: code === 0 }) });
    } catch (error) {
      if (gone) return;
      failed(error);
      // It may have been taken by the server, and what that said was lost.
      game = await get(`v1/games/${game.id}`).catch(() => game);
      right = game.played?.filter(({ state }) => state === "won").length ?? right;
      return gone || proceed();
    }
    if (gone) return;
    status({ by: told.model.name, version: told.model.version });
    game = told.standing;
    if (told.correct) right += 1;
    section.className = `draw game eye over ${told.correct ? "won" : "lost"}`;
    overline.textContent = told.correct ? t("eye.points", { right: number(RIGHT), bonus: number(told.points - RIGHT) })
      : choice === null || told.late ? t("eye.late") : t("eye.wrong", { label: label(choice) });
    word.textContent = label(told.truth);
    share.textContent = "";
    verdict.underline(told.correct ? 1 : 0);
    const own = await sha256(`${told.salt}:${told.machine}`);
    proof.replaceChildren(t(told.machine_correct ? "eye.machine.right" : "eye.machine.wrong", { label: label(told.machine) }), " ",
      h("strong", { class: own === asked.commitment ? "kept" : "broken" }, t(own === asked.commitment ? "eye.kept" : "eye.broken")), " ",
      h("code", {}, `SHA-256(${told.salt}:${told.machine}) ${own === asked.commitment ? "=" : "≠"} ${asked.commitment}`));
    spoken.textContent = `${overline.textContent}: ${word.textContent}`;
    proceed();
  }

  function proceed() {
    const go = game.state === "done" ? button("stamp-button", t("pictionary.result"), finale, { sudden: true }) : button("stamp-button", t("eye.next"), next, { sudden: true });
    choices.replaceChildren(go);
    go.focus({ preventScroll: true });
    showScores();
  }

  function showScores() {
    tally.replaceChildren(...facts([[t("eye.you"), number(game.score)], [t("eye.machine"), number(game.machine_score)], [t("game.streak"), number(game.streak)]]));
  }

  function finale() {
    const machineRight = game.machine_score / RIGHT;
    const won = right > machineRight ? "eye.victory" : "eye.faster"; // only people have points for speed
    const headline = makeHeadline({ of: t(`eye.${game.level}`), text: t(game.score > game.machine_score ? won : game.score < game.machine_score ? "eye.defeat" : "eye.draw") },
      h("p", {}, t("eye.summary.you", { right: number(right), rounds: number(game.rounds), score: number(game.score), streak: number(game.best_streak) })),
      h("p", {}, t("eye.summary.machine", { right: number(machineRight), rounds: number(game.rounds), score: number(game.machine_score) })));
    section.replaceWith(h("section", { class: "finale" }, headline.element,
      h("div", { class: "honours" }, nameForm(game.id, { onentered() { entered = true; board.refresh(); }, notice }), board.element),
      h("div", { class: "feedback" }, button("plain-button", t("pictionary.again"), again))));
    headline.title.focus({ preventScroll: true });
  }

  function keys(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
    // On a French keyboard the digits need Shift; for a clock of five seconds their keys will do.
    const digit = Number(event.key) || Number(/^Digit(\d)$/.exec(event.code)?.[1]);
    const name = round?.options[digit - 1];
    if (name) answer(name);
  }
  addEventListener("keydown", keys);
  showBoard();
  intro();
  const leave = () => {
    gone = true;
    clock.stop();
    removeEventListener("keydown", keys);
  };
  return Object.assign(leave, { playing: () => game !== null && !entered });
}

const noPictures = () => h("section", { class: "elsewhere" }, h("p", { class: "overline" }, t("view.eye")),
  h("h1", { class: "word" }, t("eye.none")), h("p", {}, t("eye.none.how")));

export default { id, mount };
