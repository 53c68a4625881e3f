// Which models answer here, and which of them the drawing views talk to: the first one that judges drawings, unless
// another is chosen. Where there is none, they say so.
//
//   const models = await servedModels();               their summaries, as soon as they are loaded
//   const models = await drawingModels(() => gone);    those that judge drawings
//   const model = await drawingModel(() => gone);      the first of them; null: only photos are judged here
//   section.replaceWith(photosOnly());
//   await pause();                                     before asking a server again that does not answer

import { get } from "./api.js";
import { h } from "./dom.js";
import { t } from "./i18n.js";
import { button } from "./parts.js";

export const pause = () => new Promise((resolve) => setTimeout(resolve, 1000));

export async function servedModels({ gone = () => false, failed = () => {} } = {}) {
  for (;;) {
    const { models } = await get("v1/models").catch((error) => { failed(error); return { models: [] }; });
    if (models.length || gone()) return models;
    // The models are still being loaded.
    await pause();
  }
}

export const drawingModels = async (gone) => (await servedModels({ gone })).filter(({ kind }) => kind === "drawing");

export const drawingModel = async (gone) => (await drawingModels(gone))[0] ?? null;

export const photosOnly = () =>
  h("section", { class: "elsewhere" }, h("p", { class: "overline" }, t("served.photos")), h("h1", { class: "word" }, t("served.photos.title")),
    h("p", {}, t("served.photos.how")), button("stamp-button", t("served.classify"), () => { location.hash = "#/classify"; }, { image: "picture" }));
