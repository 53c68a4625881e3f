// Asks for one of the model's classes: a dialog with a field that narrows the list; where nobody knows them (null), for
// any word. Resolves to the class or null.

import { h, icon } from "./dom.js";
import { LANGUAGES, label, language, t } from "./i18n.js";
import { makeSpoken } from "./parts.js";

export function pick(classes) {
  return new Promise((resolve) => {
    let active = 0;
    const words = (classes ?? []).map((name) => ({ name, text: label(name) })).sort((a, b) => a.text.localeCompare(b.text));
    const field = h("input", { type: "text", role: "combobox", "aria-expanded": "true", "aria-controls": "picks", "aria-label": t("pick.title"),
      placeholder: t("pick.placeholder"), autocomplete: "off", autocapitalize: "none", spellcheck: "false", maxlength: 200 });
    const list = h("ul", { id: "picks", role: "listbox", "aria-label": t("pick.title") });
    const spoken = makeSpoken();
    const dialog = h("dialog", { class: "picker", "aria-label": t("pick.title") },
      h("header", {}, h("h2", {}, t("pick.title")),
        h("button", { class: "quiet round", type: "button", "aria-label": t("pick.close"), onclick: () => finish(null) }, icon("close"))),
      field, list, spoken);

    function finish(choice) {
      dialog.close();
      dialog.remove();
      resolve(choice);
    }

    function found() {
      const typed = plain(field.value);
      const name = field.value.trim();
      if (classes === null) return name ? [{ name: named(name), text: name }] : [];
      const starts = words.filter(({ text }) => plain(text).startsWith(typed));
      return typed ? [...starts, ...words.filter((word) => !starts.includes(word) && plain(word.text).includes(typed))] : words;
    }

    function show() {
      const matches = found();
      const none = matches.length ? "" : t(classes === null ? "pick.unknown" : "pick.none");
      active = Math.max(0, Math.min(active, matches.length - 1));
      list.replaceChildren(...(matches.length ? matches.map(({ name, text }, index) =>
        h("li", { id: `pick-${index}`, role: "option", "aria-selected": String(index === active), onclick: () => finish(name) }, text))
        : [h("li", { class: "none" }, none)]));
      spoken.textContent = none;
      field.setAttribute("aria-activedescendant", none ? "" : `pick-${active}`);
      list.children[active]?.scrollIntoView({ block: "nearest" });
    }

    field.addEventListener("input", () => { active = 0; show(); });
    field.addEventListener("keydown", (event) => {
      const matches = found();
      if (event.key === "ArrowDown") active++;
      else if (event.key === "ArrowUp") active--;
      else if (event.key !== "Enter") return;
      // Also for Enter: closing gives the focus back to the button that opened this, and the key would press it again.
      event.preventDefault();
      if (event.key !== "Enter") show();
      else if (matches[active]) finish(matches[active].name);
    });
    dialog.addEventListener("cancel", (event) => { event.preventDefault(); finish(null); });
    dialog.addEventListener("click", (event) => { if (event.target === dialog) finish(null); });
    document.body.append(dialog);
    show();
    dialog.showModal();
    field.focus();
  });
}

// The class that is called so in the reader's language, or the word itself.
const named = (word) => Object.entries(LANGUAGES[language()].labels).find(([, text]) => plain(text) === plain(word))?.[0] ?? word;

// As it is typed: without accents, ligatures and curved apostrophes, which many keyboards lack.
const TYPED = { œ: "oe", æ: "ae", "’": "'" };
export const plain = (text) =>
  text.normalize("NFD").replace(/\p{Diacritic}/gu, "").toLowerCase().replace(/[œæ’]/g, (letter) => TYPED[letter]).trim();
