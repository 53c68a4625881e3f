// Which model the drawing views talk to: the first one served that judges drawings. Where there is none, they say so.
//
//   const model = await drawingModel(() => gone);      its summary; null: only photos are judged here
//   section.replaceWith(photosOnly());

import { get } from "./api.js";
import { h } from "./dom.js";
import { t } from "./i18n.js";
import { button } from "./parts.js";

const PAUSE = 1000;

export async function drawingModel(gone) {
  for (;;) {
    const { models } = await get("v1/models").catch(() => ({ models: [] }));
    if (models.length || gone()) return models.find(({ kind }) => kind === "drawing") ?? null;
    // The models are still being loaded.
    await new Promise((resolve) => setTimeout(resolve, PAUSE));
  }
}

export const photosOnly = () =>
  h("section", { class: "elsewhere" }, h("p", { class: "overline" }, t("served.photos")), h("h1", { class: "word" }, t("served.photos.title")),
    h("p", {}, t("served.photos.how")), button("stamp-button", t("served.classify"), () => { location.hash = "#/classify"; }, { image: "picture" }));
