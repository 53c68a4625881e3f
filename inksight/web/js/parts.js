// What the views share: buttons, the machine's verdict over its red underline, the clock that the underline can be.
//
//   const verdict = makeVerdict();          verdict.element, .overline, .word, .share, .underline(0..1)
//   const clock = makeClock({ verdict, section, hurry: 5, onend: () => ... });
//   clock.start(20); clock.correct(12.5); clock.stop();

import { h, icon } from "./dom.js";
import { failure, number, t } from "./i18n.js";

const TOO_SOON = 300; // ms: sooner than anybody sees a button, let alone presses its key on purpose

// button("plain-button", "Next", next, { image: "pencil", disabled: true })
// Pressed again while the server has yet to answer, it does nothing: a second game would begin beside the first. Nor does
// it take the second press of a double click, which was meant for the button whose place it took; nor, where it is
// `sudden`, a key that was meant for the sheet: it appears, and takes the focus, when a round ends.
export function button(kind, text, onclick, { image = null, sudden = false, ...properties } = {}) {
  const made = performance.now();
  async function press(event) {
    if (element.ariaBusy || event.detail > 1) return;
    if (sudden && event.detail === 0 && performance.now() - made < TOO_SOON) return;
    element.ariaBusy = "true";
    try {
      await onclick(event);
    } finally {
      element.ariaBusy = null;
    }
  }
  const element = h("button", { class: kind, type: "button", onclick: press, ...properties }, image && icon(image), text);
  return element;
}

// Why something failed, for people: the kind of error, or that the server does not answer. What the page itself found
// has no code, and says it already.
export const reason = ({ code, message }) => (!message ? t("status.away") : code ? failure(code) : message);

// The same with the server's own words, for those who run it.
export const detailed = (error) => (error.code && error.message ? `${reason(error)} (${error.message})` : reason(error));

// A line that is only read aloud, when its text changes.
export const makeSpoken = () => h("p", { class: "unseen", role: "status", "aria-live": "polite" });

export function makeVerdict() {
  const overline = h("p", { class: "overline" });
  const word = h("p", { class: "word" });
  const share = h("span", { class: "share" });
  const line = h("svg", { class: "underline", viewBox: "0 0 400 14", preserveAspectRatio: "none", "aria-hidden": "true" },
    h("path", { d: "M4 9C60 3 120 12 190 6s120-4 206 2" }));
  // Cut off rather than dashed: dashes are measured along the path before it is stretched, and end at the wrong place.
  const underline = (part) => { line.style.clipPath = `inset(-8px ${100 * (1 - part)}% -8px 0)`; };
  underline(0);
  return { element: h("div", { class: "verdict" }, overline, word, line, share), overline, word, share, underline };
}

export function makeClock({ verdict, section, hurry, onend }) {
  let timer = 0;
  let seconds = 1;
  let deadline = 0;

  function tick() {
    const left = Math.max(0, (deadline - performance.now()) / 1000);
    verdict.share.textContent = number(Math.ceil(left));
    verdict.underline(Math.min(1, left / seconds));
    section.classList.toggle("hurry", left <= hurry);
    if (left > 0) return;
    stop();
    onend();
  }

  function correct(left) {
    deadline = performance.now() + 1000 * left;
  }

  function start(limit) {
    stop();
    seconds = limit;
    correct(limit);
    timer = setInterval(tick, 100);
    tick();
  }

  function stop() {
    clearInterval(timer);
  }

  return { start, correct, stop };
}

// Names with numbers below them, for <dl class="tally">.
export const facts = (pairs) => pairs.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)));

// The head of a game's last page; the caller gives it the focus. `of` says of which game, where there are several.
export function makeHeadline({ text, of = null }, ...lines) {
  const title = h("h1", { class: "word", tabindex: -1 }, text);
  const over = [t("game.result"), of].filter(Boolean).join(" · ");
  return { title, element: h("div", { class: "headline" }, h("p", { class: "overline" }, over), title, ...lines) };
}
