// Which of several models answers: hidden while there is only one.
//
//   const chooser = makeChooser((name) => ...);    chooser.element
//   chooser.offer([[name, text], ...], name);      the models with their descriptions, and the one that answers now
//   chooser.value

import { h } from "./dom.js";
import { t } from "./i18n.js";

export function makeChooser(onchoice, { titled = true } = {}) {
  const select = h("select", { id: "model", onchange: () => onchoice(select.value) });
  const title = h("label", { for: "model", ...(!titled && { class: "unseen" }) }, t("choose.model"));
  const element = h("p", { class: "which", hidden: true }, title, select);
  return {
    element,
    offer(models, name) {
      select.replaceChildren(...models.map(([value, text]) => h("option", { value }, text)));
      select.value = name;
      element.hidden = models.length < 2;
    },
    get value() { return select.value; },
  };
}
