// Makes elements. h("button", {class: "tool", onclick: f, "aria-label": "Undo"}, "Undo")

const SVG = "http://www.w3.org/2000/svg";
const SVG_TAGS = new Set(["svg", "path", "circle", "g", "line", "rect", "polyline"]);

export function h(tag, properties = {}, ...children) {
  const element = SVG_TAGS.has(tag) ? document.createElementNS(SVG, tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === false || value === null || value === undefined) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

// What is made anew keeps the focus: whoever goes by keyboard would begin at the top of the page again.
export function refill(box, children) {
  const at = [...box.children].indexOf(document.activeElement);
  box.replaceChildren(...children);
  box.children[at]?.focus({ preventScroll: true });
}

// Icons are strokes on a 24 x 24 sheet, drawn with the same round pen as the drawings.
const ICONS = {
  undo: "M8 5 3.500 9.500 8 14M4 9.500h10a6 6 0 0 1 0 12h-3",
  redo: "M16 5l4.500 4.500L16 14M20 9.500H10a6 6 0 0 0 0 12h3",
  clear: "M4 7h16M9.500 7V4h5v3M6 7l1 13h10l1-13M10 11v5.500M14 11v5.500",
  save: "M12 3.500v12M7 11l5 5 5-5M4 20.500h16",
  check: "M4 13l5 5.500L20 5.500",
  pencil: "M4 20l1-5L16.500 3.500l4 4L9 19l-5 1ZM14 6l4 4",
  sun: "M12 8a4 4 0 1 0 .1 0ZM12 1.500v3M12 19.500v3M1.500 12h3M19.500 12h3M4.500 4.500l2 2M17.500 17.500l2 2M4.500 19.500l2-2M17.500 6.500l2-2",
  moon: "M19.500 14.500A8 8 0 0 1 9.500 4.500a8 8 0 1 0 10 10Z",
  strokes: "M3 17c4-12 6-12 8-4s5 6 10-5",
  close: "M5 5l14 14M19 5 5 19",
  skip: "M4 5l9 7-9 7ZM19 5v14",
  again: "M19.500 12a7.500 7.500 0 1 1-2.200-5.300L20 9.500M20 4v5.500h-5.500",
  voice: "M3.500 9.500h4L13 5v14l-5.500-4.500h-4ZM16.500 9a4.500 4.500 0 0 1 0 6M19 6.500a8 8 0 0 1 0 11",
  picture: "M4 5h16v14H4ZM4 16.500l5-5.500 4 4.500 2.500-2.500 4.500 4.500M15.500 9.200h.1",
  camera: "M4 8h3.500l2-3h5l2 3H20v11H4ZM12 9.800a3.400 3.400 0 1 0 .1 0Z",
  mute: "M3.500 9.500h4L13 5v14l-5.500-4.500h-4ZM17 9.500l5 5M22 9.500l-5 5",
};

export function icon(name) {
  return h("svg", { class: "icon", viewBox: "0 0 24 24", "aria-hidden": "true" }, h("path", { d: ICONS[name] }));
}
