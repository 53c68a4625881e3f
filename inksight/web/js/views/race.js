// Race: a room by link, the same word for all, and the first drawing that the machine recognises wins.
//
// The server deals the word, judges and keeps time; this page shows the room as the server last told it. Reached from
// Pictionary, or by the link #/race/CODE.

import { get, persist, post } from "../api.js";
import { h } from "../dom.js";
import { Guesser } from "../guesser.js";
import { label, language, number, t } from "../i18n.js";
import { savedName, saveName } from "../leaderboard.js";
import { makePad } from "../pad.js";
import { button, makeClock, makeSpoken, makeVerdict, reason } from "../parts.js";
import { makePlayers } from "../players.js";
import { simplify } from "../render.js";
import { chooseDrawingModel } from "../served.js";
import { read, write } from "../store.js";
import { Table } from "../table.js";
import { hush, say } from "../voice.js";

export const id = "race";
export const parent = "pictionary";

const SHEET = "inksight.race.sheet"; // the drawing of the last round in which this page was left or loaded again

let opened = null; // the room that this page has just opened, under a name that it knows

const codeOf = (hash) => /^#\/?race\/([a-z0-9]+)/.exec(hash)?.[1] ?? null;
const linkTo = (code) => new URL(`#/race/${code}`, location.href).href;

export function mount(root, { notice, status, again }) {
  const code = codeOf(location.hash);
  let me = null; // my number at the table
  let room = null; // the room, as the server last told
  let gone = false;
  let stage = ""; // phase and number of what is shown, so that a round begins and ends once
  let company = ""; // who is here, as it was last read aloud

  const verdict = makeVerdict();
  const { overline, word, share } = verdict;
  share.setAttribute("role", "timer");
  const murmur = h("p", { class: "murmur" });
  const actions = h("div", { class: "feedback" });
  const invitation = h("div", { class: "invite" });
  const players = makePlayers();
  const spoken = makeSpoken();
  const chooser = chooseDrawingModel({ onchoice: (by) => { if (!code) status({ by, ms: null }); }, section: () => section, gone: () => gone });
  const pad = makePad({ onchange: drawn });
  const stamp = h("p", { class: "mark", "aria-hidden": "true" });
  pad.paper.append(h("div", { class: "cover" }, h("p", { class: "title" }, t("view.race")), h("p", {}, t("race.rules"))), stamp);
  root.append(h("section", { class: "draw game race" }, pad.element,
    h("div", { class: "margin" }, verdict.element, murmur, actions, players.element, invitation), spoken));
  const section = root.firstElementChild;

  // The server ends the round; a clock that is a little ahead only waits for its word.
  const clock = makeClock({ verdict, section, hurry: 5, onend: () => table.expect() });
  const guesser = new Guesser({ onanswer: answered, onerror: failed },
    (strokes) => table.ask(room.number, simplify(strokes)));
  const table = code && new Table(code, {
    onwelcome: ({ player }) => { me = player; status(); },
    onroom: show,
    onerror: failed,
    onlost: () => status({ offline: true }),
    onend: ended,
  });
  const name = (who) => room.players.find((player) => player.id === who)?.name ?? "";

  function failed(error) {
    // A late drawing of a round that has just ended is no news.
    if (error.status === 409) return;
    if (error.status === 0) status({ offline: true });
    else if (error.status !== 503) notice(reason(error), "bad");
  }

  function drawn(strokes) {
    if (room?.phase !== "drawing") return;
    if (strokes.some(([xs]) => xs.length > 1)) guesser.ask(strokes);
    else guesser.forget();
  }

  function answered({ model, predictions, unsure }) {
    status({ by: model.name, version: model.version });
    if (room.phase !== "drawing") return;
    const text = unsure ? t("pictionary.watching") : t("game.guess", { label: label(predictions[0].label) });
    if (murmur.textContent === text) return;
    murmur.textContent = text;
    if (!unsure) say(t("pictionary.see", { label: label(predictions[0].label) }), language());
  }

  function show(next) {
    room = next;
    const now = `${room.phase} ${room.number}`;
    const turned = now !== stage;
    if (turned) {
      stage = now;
      status({ by: room.model, ms: null });
      ({ lobby: wait, countdown: prepare, drawing: begin, over: finish })[room.phase]();
    } else if (room.left !== null) clock.correct(room.left);
    players.show(room, me);
    offer();
    if (room.phase === "lobby" || (room.phase === "over" && !turned)) greet();
  }

  // Who came or went between two rounds is read aloud.
  function greet() {
    const here = room.players.filter((player) => player.here).map((player) => player.name).join(", ");
    if (here !== company) spoken.textContent = t("race.with", { names: here });
    company = here;
  }

  function set(kind, { open = false } = {}) {
    section.classList.remove("playing", "over", "won", "lost", "hurry");
    if (kind) section.classList.add(...kind.split(" "));
    pad.open(open);
    clock.stop();
    guesser.forget();
    verdict.underline(0);
  }

  function wait() {
    set("");
    overline.textContent = t("view.race");
    word.textContent = t("pictionary.ready");
    share.textContent = "";
  }

  function prepare() {
    set("");
    pad.sheet.renew();
    overline.textContent = t("race.round", { number: number(room.number) });
    word.textContent = t("race.soon");
    spoken.textContent = t("race.soon");
    clock.start(room.seconds);
    clock.correct(room.left);
  }

  function begin() {
    set("playing", { open: true });
    pad.canvas.focus({ preventScroll: true });
    overline.textContent = t("pictionary.draw");
    word.textContent = label(room.word);
    murmur.textContent = t("pictionary.watching");
    spoken.textContent = `${t("pictionary.draw")}: ${label(room.word)}`;
    clock.start(room.seconds);
    clock.correct(room.left);
    // Whoever was away during the countdown has the last round's drawing there.
    const { of, kept } = JSON.parse(read("sessionStorage", SHEET)) ?? {};
    pad.sheet.renew(of === roundName() ? kept : undefined);
  }

  const roundName = () => `${code} ${room.number}`;

  // The server tells drawings only when the round is over, and simplified: in it, the page keeps its own.
  function keep() {
    if (room?.phase === "drawing") write("sessionStorage", SHEET, JSON.stringify({ of: roundName(), kept: pad.sheet.kept }));
  }

  function finish() {
    const mine = room.winner === me;
    set(`over ${mine ? "won" : "lost"}`);
    const text = room.winner === null ? t("pictionary.lost") : mine ? t("race.won.you") : t("race.won", { name: room.winner_name });
    stamp.textContent = text;
    overline.textContent = text;
    word.textContent = label(room.word);
    share.textContent = room.took === null ? "" : t("pictionary.seconds", { seconds: number(room.took, 1) });
    verdict.underline(mine ? 1 : 0);
    murmur.textContent = "";
    spoken.textContent = `${text} ${label(room.word)}`;
    say(text, language(), { urgent: true });
  }

  // What one may do now; made anew only when it changes, so that the focus stays.
  function offer() {
    const here = room.players.filter((player) => player.here).length;
    const may = room.phase === "lobby" || room.phase === "over";
    const hosting = room.host === me;
    const state = may ? `${room.phase} ${hosting} ${here > 1} ${room.host}` : "";
    if (actions.dataset.state !== state) {
      actions.dataset.state = state;
      const text = room.phase === "over" ? t("pictionary.next") : t("pictionary.start");
      const go = hosting && here > 1 && button("stamp-button", text, () => table.start(), { image: "pencil" });
      actions.replaceChildren(...!may ? [] : [go || h("p", { class: "patience" }, here < 2 ? t("race.alone") : t("race.patience", { name: name(room.host) })),
        button("plain-button", t("race.leave"), quit)]);
      if (go && room.phase === "over") go.focus({ preventScroll: true });
    }
    invitation.hidden = !may || room.players.length === 8;
    if (!invitation.hidden && !invitation.firstChild) invite();
  }

  function invite() {
    const field = h("input", { type: "text", class: "field", readonly: true, "aria-label": t("race.invite"), onfocus: () => field.select() });
    field.value = linkTo(code);
    const copy = async () => {
      try {
        await navigator.clipboard.writeText(field.value);
        notice(t("race.copied"));
      } catch {
        // Only pages on https and localhost may write there; the link is selected, to be copied by hand.
        field.focus();
      }
    };
    const share = () => navigator.share({ title: t("view.race"), url: field.value }).catch(() => {});
    invitation.append(h("p", {}, t("race.invite")), h("div", { class: "sign" }, field,
      button("plain-button", t("race.copy"), copy), navigator.share && button("plain-button", t("race.share"), share)));
  }

  function quit() {
    table.leave();
    opened = null; // who comes back is asked
    location.hash = "#/pictionary";
  }

  // There is no way back by itself: why, and what one can do.
  function ended(error) {
    wait();
    status(); // the server is there: it has just said so
    stage = "";
    murmur.textContent = "";
    invitation.hidden = true;
    players.element.replaceChildren();
    actions.removeAttribute("data-state");
    if (error.status === 1) {
      word.textContent = t("race.elsewhere");
      actions.replaceChildren(button("stamp-button", t("race.here"), again));
      return;
    }
    if (error.status === 403) {
      word.textContent = t("race.refused");
      actions.replaceChildren(h("p", { class: "refusal", role: "alert" }, t("race.refused.how", { address: location.origin })),
        button("stamp-button", t("race.retry"), again));
      return;
    }
    if (error.status === 422) return askName(t("race.join"), enter, t("board.unfit"));
    const full = error.code === "room_full";
    word.textContent = t(full ? "race.full" : "race.closed");
    askRoom(full ? t("race.full.how") : refusal(error));
  }

  // Where the kind of error says too little.
  function refusal(error) {
    const known = { 404: "race.closed.how", 409: "race.processes", 503: error.code === "unavailable" && "race.taken" }[error.status];
    return known ? t(known) : reason(error);
  }

  function askRoom(why) {
    askName(t("race.open"), open, why);
    actions.append(chooser.element);
  }

  function askName(text, onname, why = null) {
    const field = h("input", { type: "text", maxlength: 20, autocomplete: "nickname", spellcheck: "false", required: true, "aria-label": t("board.name"), placeholder: t("board.name") });
    field.value = savedName();
    const submit = (event) => {
      event.preventDefault();
      // Blanks are something to the browser, and nothing to the server.
      if (field.value.trim()) onname(field.value);
      else field.focus();
    };
    actions.replaceChildren(...(why ? [h("p", { class: "refusal", role: "alert" }, why)] : []), h("form", { class: "sign", onsubmit: submit },
      field, h("button", { class: "stamp-button", type: "submit" }, text)));
  }

  async function open(chosen) {
    try {
      const found = await post("v1/race/rooms", chooser.value ? { model: chooser.value } : {});
      if (gone) return;
      opened = found.room;
      saveName(chosen);
      location.hash = `#/race/${opened}`;
    } catch (error) {
      notice(refusal(error), "bad");
    }
  }

  function enter(chosen) {
    saveName(chosen);
    actions.replaceChildren();
    table.join(chosen);
  }

  async function intro() {
    wait();
    players.element.replaceChildren();
    if (!code) return askRoom();
    // Who has a seat, or has just opened the room, said the name already.
    if (table.known || opened === code) return enter(savedName());
    try {
      const found = await persist(() => get(`v1/race/rooms/${code}`), { gone: () => gone, failed: ({ status: why }) => status({ offline: why === 0 }) });
      if (room || gone) return;
      status();
      if (found.full) return ended({ code: "room_full" });
      overline.textContent = found.players.length ? t("race.with", { names: found.players.join(", ") }) : t("view.race");
      askName(t("race.join"), enter);
    } catch (error) {
      if (!gone) ended(error);
    }
  }

  addEventListener("pagehide", keep);
  intro();
  const leave = () => {
    keep();
    gone = true;
    removeEventListener("pagehide", keep);
    table?.close();
    clock.stop();
    guesser.forget();
    hush();
    players.dispose();
    pad.dispose();
  };
  return Object.assign(leave, { playing: () => room?.phase === "drawing" });
}

export default { id, parent, mount };
