// The players of a race: names, what the machine sees in their drawings, rounds won; at the end the drawings.
//
//   const players = makePlayers(); players.show(room, me); players.dispose();

import { h } from "./dom.js";
import { label, number, t } from "./i18n.js";
import { replay } from "./replay.js";

const UNITS = 1000;
const MARGIN = 90;

export function makePlayers() {
  const element = h("ol", { class: "players", "aria-label": t("race.players") });
  let replays = [];
  let papers = []; // {canvas, strokes}
  let shown = null; // the round whose drawings were drawn before the players' eyes

  function show(room, me) {
    stop();
    element.replaceChildren(...room.players.map((player) => seat(room, player, me)));
    const drawn = room.players.filter(({ drawing }) => drawing?.length);
    papers = [...element.querySelectorAll("canvas")].map((canvas, index) => ({ canvas, strokes: fit(drawn[index].drawing) }));
    if (room.phase !== "over") return;
    draw(shown === room.number ? 0 : 2.5);
    shown = room.number;
  }

  function draw(seconds) {
    stop();
    replays = papers.map(({ canvas, strokes }) => replay(canvas, strokes, { seconds }));
  }

  function stop() {
    replays.forEach((cancel) => cancel());
    replays = [];
  }

  const themed = () => draw(0);
  addEventListener("inksight:theme", themed);
  return { element, show, dispose() { stop(); removeEventListener("inksight:theme", themed); } };
}

function seat(room, player, me) {
  const over = room.phase === "over";
  const notes = [player.id === me && t("race.you"), player.id === room.host && t("race.host"), !player.here && t("race.away")].filter(Boolean);
  const won = over && player.id === room.winner;
  const guess = room.phase !== "drawing" && !over ? "" : player.guess === null ? "…" : over ? label(player.guess) : t("game.guess", { label: label(player.guess) });
  return h("li", { class: [won && "won", !player.here && "away", player.id === me && "me"].filter(Boolean).join(" ") },
    over && h("div", { class: "sheet" }, player.drawing.length > 0 && h("canvas", { role: "img", "aria-label": t("race.drawing", { name: player.name }) })),
    h("p", {}, h("span", { class: "who" }, player.name), " ", h("span", { class: "notes" }, notes.join(", "))),
    h("p", { class: "guess" }, guess),
    h("span", { class: "value", "aria-label": t("race.wins", { count: number(player.score) }) }, number(player.score)));
}

// Simplified strokes span 0 to 255 from the corner; on the paper they are centred.
function fit(strokes) {
  const [xs, ys] = [0, 1].map((axis) => strokes.flatMap((stroke) => stroke[axis]));
  const [wide, high] = [Math.max(...xs), Math.max(...ys)];
  const scale = (UNITS - 2 * MARGIN) / Math.max(wide, high, 1);
  const place = (values, size) => values.map((value) => UNITS / 2 + (value - size / 2) * scale);
  return strokes.map(([x, y]) => [place(x, wide), place(y, high)]);
}
