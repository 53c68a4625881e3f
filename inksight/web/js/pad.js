// The drawing sheet with undo and clear, as the games use it.
//
//   const pad = makePad({ onchange: (strokes) => ... }, extraTools);
//   pad.element, pad.sheet, pad.paper      pad.open(true | false): may one draw on it?
//   const kept = pad.dispose();            the drawing; makePad({ onchange, kept }) goes on with it

import { h, icon } from "./dom.js";
import { t } from "./i18n.js";
import { Sheet } from "./ink.js";

export function tool(name, text, onclick, title = text) {
  return h("button", { class: "tool", type: "button", title, "aria-label": title, onclick }, icon(name), h("span", {}, text));
}

export function makePad({ onchange, kept }, ...tools) {
  const canvas = h("canvas", { class: "ink", tabindex: 0, role: "img", "aria-label": t("draw.sheet") });
  const paper = h("div", { class: "paper" }, canvas);
  const undo = tool("undo", t("draw.undo"), () => sheet.undo());
  const clear = tool("clear", t("draw.clear"), () => sheet.clear());
  const element = h("div", { class: "pad" }, paper, h("div", { class: "tools" }, undo, clear, h("span", { class: "gap" }), ...tools));
  let isOpen = false;

  const sheet = new Sheet(canvas, { kept, onchange: (strokes) => { enable(); onchange(strokes); } });

  function enable() {
    undo.disabled = !isOpen || !sheet.undoable;
    clear.disabled = !isOpen || sheet.strokes.length === 0;
  }

  function open(whether) {
    isOpen = whether;
    canvas.inert = !whether;
    if (!whether) sheet.lift(); // a pointer that is held down goes on being told to the sheet, inert or not
    enable();
  }

  function keys(event) {
    if (!isOpen || event.target.closest?.("input, select, dialog")) return;
    if ((event.key === "z" || event.key === "Z") && !event.altKey && !event.shiftKey) sheet.undo();
    else if (event.target === canvas && (event.key === "Delete" || event.key === "Backspace") && !event.ctrlKey && !event.metaKey) sheet.clear();
    else return;
    event.preventDefault();
  }
  addEventListener("keydown", keys);
  open(false);

  return { element, paper, canvas, sheet, open,
    dispose() { removeEventListener("keydown", keys); return sheet.dispose(); } };
}

// The strokes as they are now, with times: the pen goes on, what is kept must not.
export const copy = (strokes) => strokes.map((axes) => axes.map((values) => values.slice()));
