// Which models answer here, and which of them the drawing views talk to: the first one that judges drawings, unless
// another is chosen, and that one from view to view. Where there is none, they say so.
//
//   const models = await servedModels();               their summaries, as soon as they are loaded
//   const chooser = chooseDrawingModel({ onchoice: (name) => ..., section: () => section, gone: () => gone });
//   chooser.element, chooser.value                     the choice, seen where there is one, and the name chosen

import { get, pause } from "./api.js";
import { makeChooser } from "./chooser.js";
import { h } from "./dom.js";
import { t } from "./i18n.js";
import { button } from "./parts.js";

let chosen = null; // the name of the model of the drawing views

export async function servedModels({ gone = () => false, failed = () => {} } = {}) {
  for (;;) {
    const { models } = await get("v1/models").catch((error) => { failed(error); return { models: [] }; });
    if (models.length || gone()) return models;
    // The models are still being loaded.
    await pause();
  }
}

export function chooseDrawingModel({ onchoice, section, gone }) {
  const choose = (name) => { chosen = name; onchoice(name); };
  const chooser = makeChooser(choose);
  servedModels({ gone }).then((models) => {
    if (gone()) return;
    const names = models.filter(({ kind }) => kind === "drawing").map(({ name }) => name);
    if (!names.length) return section().replaceWith(photosOnly());
    const first = names.includes(chosen) ? chosen : names[0];
    chooser.offer(names.map((name) => [name, name]), first);
    choose(first);
  });
  return chooser;
}

const photosOnly = () =>
  h("section", { class: "elsewhere" }, h("p", { class: "overline" }, t("served.photos")), h("h1", { class: "word" }, t("served.photos.title")),
    h("p", {}, t("served.photos.how")), button("stamp-button", t("served.classify"), () => { location.hash = "#/classify"; }, { image: "picture" }));
