// Pictionary: a word, twenty seconds, and the machine guesses aloud. In the infinite mode: words it is bad at, no clock.
//
// The server deals the words, judges and keeps time; this page only shows how it stands.

import { get, persist, post } from "../api.js";
import { h, icon } from "../dom.js";
import { Guesser } from "../guesser.js";
import { label, language, number, percent, t } from "../i18n.js";
import { leaderboard, nameForm } from "../leaderboard.js";
import { copy, makePad, tool } from "../pad.js";
import { button, facts, makeClock, makeHeadline, makeSpoken, makeVerdict, reason } from "../parts.js";
import { replay } from "../replay.js";
import { chooseDrawingModel } from "../served.js";
import { hasVoice, hush, say, setVoice, voiceOn } from "../voice.js";

export const id = "pictionary";

export function mount(root, { notice, status, again }) {
  let game = null; // the session, as the server last told
  let round = null; // the open round: {id, word, accuracy, seen}
  let played = []; // what was drawn, to be shown again at the end
  let stopReplays = [];
  let gone = false;
  let entered = false; // on the leaderboard: until then the score is this page's alone

  const verdict = makeVerdict();
  const { overline, word, share } = verdict;
  share.setAttribute("role", "timer");
  const murmur = h("p", { class: "murmur" });
  const actions = h("div", { class: "feedback" });
  const tally = h("dl", { class: "tally" });
  const blots = h("ol", { class: "blots", "aria-hidden": "true" });
  const board = leaderboard("pictionary");
  const chooser = chooseDrawingModel({ onchoice: (by) => { if (!game) status({ by, ms: null }); board.show({ model: by, title: chooser.element.hidden ? "" : by }); }, section: () => section, gone: () => gone });
  const spoken = makeSpoken();

  const skip = tool("skip", t("pictionary.skip"), () => decide());
  const voice = tool("voice", t("pictionary.voice"), () => { setVoice(!voiceOn()); showVoice(); });
  const pad = makePad({ onchange: drawn }, voice, skip);
  const stamp = h("p", { class: "mark", "aria-hidden": "true" });
  const cover = h("div", { class: "cover" }, h("p", { class: "title" }, t("view.pictionary")), h("p", {}, t("pictionary.rules")),
    h("p", { class: "small" }, t("pictionary.infinite.rules")));
  pad.paper.append(cover, stamp);

  root.append(h("section", { class: "draw game" }, pad.element,
    h("div", { class: "margin" }, verdict.element, murmur, actions, h("div", { class: "standing" }, blots, tally), board.element), spoken));
  const section = root.firstElementChild;

  // The red line is the clock, and in the infinite mode how sure the machine is.
  const clock = makeClock({ verdict, section, hurry: 5, onend: decide });
  const infinite = () => game?.game === "infinite";

  const guesser = new Guesser({ onanswer: answered, onerror: failed },
    (strokes) => post(`v1/rounds/${round.id}/guess`, { strokes }));

  function failed(error) {
    // A late guess of a round that has just ended is no news.
    if (error.status === 409) return;
    if (error.status === 0) status({ offline: true });
    else if (error.status !== 503) notice(reason(error), "bad");
  }

  function drawn(strokes) {
    if (!round) return;
    if (strokes.length) guesser.ask(strokes);
    else guesser.forget();
  }

  async function begin(kind) {
    try {
      game = await post("v1/games", { game: kind, ...(chooser.value && { model: chooser.value }) });
    } catch (error) {
      return notice(reason(error), "bad");
    }
    if (gone) return;
    played = [];
    status({ by: game.model.name, version: game.model.version, ms: null });
    await next();
  }

  async function next() {
    let asked;
    try {
      asked = await post(`v1/games/${game.id}/rounds`, {});
    } catch (error) {
      // The last guess was lost on its way, and the round with it: the game is over.
      return error.status === 409 ? stop() : notice(reason(error), "bad");
    }
    if (gone) return;
    round = { ...asked, seen: [] };
    section.classList.remove("over", "won", "lost");
    section.classList.add("playing");
    pad.sheet.renew();
    pad.open(true);
    pad.canvas.focus({ preventScroll: true });
    overline.textContent = infinite() ? t("pictionary.weak", { percent: percent(asked.accuracy) }) : t("pictionary.draw");
    word.textContent = label(asked.word);
    murmur.replaceChildren(t("pictionary.watching"));
    actions.replaceChildren(...(infinite() ? [button("plain-button", t("pictionary.stop"), stop)] : []));
    spoken.textContent = `${t("pictionary.draw")}: ${label(asked.word)}`;
    skip.disabled = false;
    showStanding();
    if (infinite()) sure(0);
    else clock.start(asked.seconds);
  }

  function sure(probability) {
    share.textContent = percent(probability);
    verdict.underline(probability);
  }

  // The time is up or the player gives up: the server has the last word.
  async function decide() {
    if (!round || round.deciding) return;
    const asked = round;
    asked.deciding = true;
    clock.stop();
    pad.open(false);
    guesser.forget();
    try {
      const answer = await persist(() => post(`v1/rounds/${asked.id}/guess`, { strokes: pad.sheet.strokes, last: true }),
        { gone: () => round !== asked, failed });
      if (round === asked) over(answer);
    } catch (error) {
      if (round !== asked) return;
      failed(error);
      // The round may have been won by a guess whose answer was lost; the server knows.
      game = await get(`v1/games/${game.id}`).catch(() => game);
      if (round !== asked) return;
      const { state = "lost", took = null, points = 0 } = game.played?.at(-1) ?? {};
      over({ state, took, points, predictions: [], standing: game });
    }
  }

  function answered(answer) {
    if (!round || round.deciding) return;
    judgedBy(answer);
    if (answer.state !== "open") return over(answer);
    if (answer.left !== null) clock.correct(answer.left);
    const [best] = answer.predictions;
    if (infinite()) sure(answer.predictions.find((guess) => guess.label === round.word)?.probability ?? 0);
    if (answer.unsure || round.seen.at(-1) === best.label) return;
    round.seen = [...round.seen.filter((name) => name !== best.label), best.label];
    const text = t("pictionary.see", { label: label(best.label) });
    mutter();
    spoken.textContent = text;
    say(text, language());
  }

  // The version that judged, which need not be the one that the game began with.
  const judgedBy = ({ model }) => status(model && { by: model.name, version: model.version });

  function mutter(last = null) {
    const wrong = round.seen.filter((name) => name !== last).slice(-4);
    const crossed = wrong.flatMap((name, index) => {
      const shown = index === wrong.length - 1 && last === null ? h("span", {}, t("game.guess", { label: label(name) })) : h("s", {}, label(name));
      return [shown, " "];
    });
    murmur.replaceChildren(...crossed, ...(last === null ? [] : [h("strong", {}, t("game.got", { label: label(last) }))]));
    // On a phone it has one line: the newest word is to be seen, so the oldest go.
    while (murmur.scrollWidth > murmur.clientWidth && murmur.children.length > 1) murmur.firstElementChild.remove();
  }

  function over(answer) {
    clock.stop();
    guesser.forget();
    judgedBy(answer);
    const won = answer.state === "won";
    played.push({ word: round.word, strokes: copy(pad.sheet.strokes), won, took: answer.took, guess: answer.predictions[0]?.label });
    mutter(won ? round.word : null);
    game = answer.standing ?? game;
    section.classList.remove("playing", "hurry");
    section.classList.add("over", won ? "won" : "lost");
    pad.open(false);
    skip.disabled = true;
    stamp.textContent = t(won ? "pictionary.won" : "pictionary.lost");
    const text = won ? t("pictionary.know", { label: label(round.word) }) : t("pictionary.sorry", { label: label(round.word) });
    share.textContent = won && answer.took !== null ? t("pictionary.seconds", { seconds: number(answer.took, 1) }) : "";
    verdict.underline(won ? 1 : 0);
    overline.textContent = won ? (answer.saved ? t("pictionary.saved") : t("pictionary.points", { points: number(answer.points) })) : t("pictionary.missed");
    spoken.textContent = text;
    say(text, language(), { urgent: true });
    round = null;
    const go = game.state === "done"
      ? button("stamp-button", t("pictionary.result"), finale, { image: "check", sudden: true })
      : button("stamp-button", t("pictionary.next"), next, { image: "pencil", sudden: true });
    actions.replaceChildren(go, ...(infinite() ? [button("plain-button", t("pictionary.stop"), stop)] : []));
    go.focus({ preventScroll: true });
    showStanding();
  }

  async function stop() {
    clock.stop();
    guesser.forget();
    // What is on the sheet in the middle of a round was drawn too.
    if (round && pad.sheet.strokes.length) played.push({ word: round.word, strokes: copy(pad.sheet.strokes), won: false, took: null, guess: round.seen.at(-1) });
    round = null;
    game = await post(`v1/games/${game.id}/end`, {}).catch(() => game);
    if (!gone) finale();
  }

  function showStanding() {
    tally.replaceChildren(...facts([[t("game.score"), number(game.score)], [t("game.streak"), number(game.streak)], [t("game.best.streak"), number(game.best_streak)]]));
    blots.replaceChildren(...Array.from({ length: game.rounds }, (_, index) =>
      h("li", { class: played[index] ? (played[index].won ? "won" : "lost") : index === played.length && round ? "now" : "" })));
  }

  function showVoice() {
    voice.hidden = !hasVoice();
    voice.setAttribute("aria-pressed", String(voiceOn()));
    voice.replaceChildren(icon(voiceOn() ? "voice" : "mute"), h("span", {}, t("pictionary.voice")));
  }

  function finale() {
    hush();
    const won = played.filter((drawing) => drawing.won);
    const fastest = won.filter(({ took }) => took !== null).sort((a, b) => a.took - b.took)[0];
    const papers = played.map(({ word: name, won: good, took, guess, strokes }) => {
      const canvas = h("canvas", { role: "img", "aria-label": label(name) });
      return { canvas, element: h("li", { class: good ? "won" : "lost" }, h("div", { class: "sheet" }, canvas),
        h("p", {}, h("strong", {}, label(name)), h("span", {}, good
          ? (took === null ? "" : t("pictionary.seconds", { seconds: number(took, 1) }))
          : guess && strokes.length ? t("pictionary.saw", { label: label(guess) }) : ""))) };
    });
    const play = (asked) => {
      stopReplays.forEach((cancel) => cancel());
      stopReplays = papers.map(({ canvas }, index) => replay(canvas, played[index].strokes, { asked }));
    };
    const summary = infinite()
      ? t("pictionary.infinite.summary", { count: number(won.length) })
      : t("pictionary.summary", { won: number(won.length), rounds: number(game.rounds), streak: number(game.best_streak) });
    const headline = makeHeadline({ text: infinite() ? t("pictionary.thanks") : t("game.points", { points: number(game.score) }) }, h("p", {}, summary),
      fastest && h("p", {}, t("pictionary.fastest", { label: label(fastest.word), seconds: number(fastest.took, 1) })));
    section.replaceWith(h("section", { class: "finale" }, headline.element,
      h("ol", { class: "papers" }, papers.map(({ element }) => element)),
      h("div", { class: "feedback" }, button("plain-button", t("pictionary.again"), again, { image: "pencil" }),
        played.length > 0 && button("plain-button", t("pictionary.replay"), () => play(true), { image: "again" })),
      infinite() ? null : h("div", { class: "honours" }, nameForm(game.id, { onentered() { entered = true; board.refresh(); }, notice }), board.element)));
    headline.title.focus({ preventScroll: true });
    play(false);
  }

  function intro() {
    word.textContent = t("pictionary.ready");
    overline.textContent = t("view.pictionary");
    actions.replaceChildren(button("stamp-button", t("pictionary.start"), () => begin("pictionary"), { image: "pencil" }),
      button("plain-button", t("pictionary.infinite"), () => begin("infinite")),
      button("plain-button", t("view.race"), () => { location.hash = "#/race"; }), chooser.element);
    skip.disabled = true;
    showVoice();
  }

  const themed = () => stopReplays.length && document.querySelectorAll(".papers canvas").forEach((canvas, index) => replay(canvas, played[index].strokes, { seconds: 0 }));
  addEventListener("inksight:theme", themed);
  intro();
  const leave = () => {
    gone = true;
    round = null; // what the server still says of it is neither shown nor spoken
    clock.stop();
    guesser.forget();
    hush();
    stopReplays.forEach((cancel) => cancel());
    pad.dispose();
    removeEventListener("inksight:theme", themed);
  };
  return Object.assign(leave, { playing: () => game !== null && (infinite() ? game.state === "playing" : !entered) });
}

export default { id, mount };
