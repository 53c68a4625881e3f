// The runners-up: a word, a stroke of a brush as long as its probability is high, and the number.
//
//   const guesses = makeGuesses({ onpick: (label) => ... });
//   guesses.show([{ label, probability }, ...]);        show([]) empties the rows

import { h } from "./dom.js";
import { label, percent, t } from "./i18n.js";

// Three strokes of a brush, so that no two neighbouring bars are alike.
const BRUSHES = [
  "M3 11C30 6 80 9 130 6S230 5 282 8c10 1 14 3 13 5-30 3-70 1-110 3C120 18 60 14 20 16 8 16 2 14 3 11Z",
  "M4 9C50 7 90 4 150 6s100-1 136 4c8 2 12 3 10 5-26 2-60-1-96 1C140 19 70 13 26 15 10 16 1 13 4 9Z",
  "M2 10C40 9 70 5 120 7s110-3 160 1c12 1 17 4 15 6-20 3-66 0-100 2-60 3-120-2-160 0C14 17 1 14 2 10Z",
];

export function makeGuesses({ onpick }) {
  let shown = [];
  const rows = [...BRUSHES, BRUSHES[0]].map((brush, index) => {
    const name = h("span", { class: "name" });
    const bar = h("svg", { class: "bar", viewBox: "0 0 300 20", preserveAspectRatio: "none", "aria-hidden": "true" }, h("path", { d: brush }));
    const value = h("span", { class: "value" });
    const choice = h("button", { type: "button", onclick: () => onpick(shown[index].label) }, name, bar, value);
    return { item: h("li", {}, choice), choice, name, bar, value };
  });

  function show(guesses) {
    shown = guesses;
    rows.forEach(({ item, choice, name, bar, value }, index) => {
      const guess = guesses[index];
      item.classList.toggle("empty", !guess);
      choice.disabled = !guess;
      name.textContent = guess ? label(guess.label) : "";
      value.textContent = guess ? percent(guess.probability) : "";
      bar.style.transform = `scaleX(${guess ? Math.max(0.012, guess.probability) : 0})`;
      if (guess) choice.setAttribute("aria-label", `${t("draw.tap", { label: label(guess.label) })} (${percent(guess.probability)})`);
    });
  }

  const list = h("ol", { class: "guesses", "aria-label": t("draw.others") }, rows.map(({ item }) => item));
  return { element: h("div", { class: "alternatives" }, h("h2", { class: "overline" }, t("draw.others")), list), show };
}
