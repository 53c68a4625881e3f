// The shell: masthead, views by address (#/draw), preferences, notices. A view is a module in views/ (see index.js).

import { h, icon, refill } from "./dom.js";
import { LANGUAGES, language, number, setLanguage, t } from "./i18n.js";
import { servedModels } from "./served.js";
import { write } from "./store.js";
import { views } from "./views/index.js";

const main = document.getElementById("main");
const root = document.documentElement;
let leave = () => {};
let place = history.state?.place ?? 0; // of what is shown among the addresses of this tab

export function notice(text, kind = "good") {
  const note = h("p", { class: `notice ${kind}` }, text);
  document.getElementById("notices").replaceChildren(note);
  setTimeout(() => note.remove(), 4000);
}

function show() {
  const wanted = location.hash.replace(/^#\/?/, "").split(/[/?]/)[0];
  const view = views.find(({ id }) => id === wanted) ?? views[0];
  const within = main.contains(document.activeElement);
  leave();
  history.replaceState({ place }, "");
  document.title = view.id === views[0].id ? "Inksight" : `${t(`view.${view.id}`)} · Inksight`;
  main.replaceChildren();
  main.dataset.view = view.id;
  leave = view.mount(main, { notice, status, again: show }) ?? (() => {});
  const title = h("h1", { class: "unseen", tabindex: -1 }, t(`view.${view.id}`));
  main.prepend(title);
  // A button that led here is gone: who goes by keyboard or ear goes on where the view begins, not the page.
  if (within && !main.contains(document.activeElement)) title.focus({ preventScroll: true });
  drawNavigation(view);
}

function drawNavigation(active) {
  const menu = document.getElementById("views");
  refill(menu, views.filter(({ parent }) => !parent).map(({ id }) =>
    h("a", { href: `#/${id}`, "aria-current": id === active.id ? "page" : id === active.parent ? "true" : null }, t(`view.${id}`))));
  // On a phone the menu is wider than the screen.
  const current = menu.querySelector("[aria-current]");
  menu.scrollLeft = current.offsetLeft - (menu.clientWidth - current.offsetWidth) / 2;
}

function drawPreferences() {
  const other = Object.keys(LANGUAGES).find((code) => code !== language());
  const dark = isDark();
  refill(document.getElementById("preferences"), [
    h("button", { class: "quiet", lang: other, onclick: () => changeLanguage(other) }, LANGUAGES[other].name),
    h("button", { class: "quiet round", "aria-label": t(dark ? "theme.light" : "theme.dark"), title: t(dark ? "theme.light" : "theme.dark"),
      onclick: () => setTheme(dark ? "light" : "dark") }, icon(dark ? "sun" : "moon")),
  ]);
}

// A game does not survive it when its view is left, or made anew in the other language.
const mayEnd = (question) => !leave.playing?.() || confirm(t(question));

// A link, or Back or Forward: whoever stays goes as far the other way.
function go() {
  const to = history.state?.place ?? place + 1;
  if (to === place) return;
  if (!mayEnd("shell.leaves")) return history.go(place - to);
  place = to;
  show();
}

function changeLanguage(code) {
  if (!mayEnd("shell.ends")) return;
  setLanguage(code);
  refresh();
}

const isDark = () =>
  (root.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";

function setTheme(theme) {
  root.dataset.theme = theme;
  write("localStorage", "inksight.theme", theme);
  themeChanged();
}

function themeChanged() {
  drawPreferences();
  // Ink on a canvas has the colour it was drawn with; the views draw it again.
  dispatchEvent(new Event("inksight:theme"));
}

function refresh() {
  document.getElementById("skip").textContent = t("shell.skip");
  drawPreferences();
  show();
  status();
}

let models = [];
let last = { ms: null, by: null, version: null };

// The line at the foot: which model answers, and how fast. status({ ms, by: name, version }) after an answer,
// status({ offline }) without one; until somebody has asked, it is the one that answers by default.
export function status({ ms = last.ms, by = last.by, version = by === last.by ? last.version : null, offline = false } = {}) {
  last = { ms, by, version };
  const model = models.find(({ name }) => name === by) ?? models[0];
  const parts = offline
    ? [h("strong", {}, t("status.offline"))]
    : model === undefined
      ? [t("status.loading")]
      : [t("status.model", { name: model.name, version: version ?? model.version }), t("status.classes", { count: number(model.classes) }),
         ms === null ? null : t("status.ms", { ms: number(ms, 1) })];
  document.getElementById("colophon").replaceChildren(
    h("p", { class: offline ? "offline" : "" }, ...parts.filter(Boolean).flatMap((part, index) => (index ? [h("span", { "aria-hidden": "true" }, " · "), part] : [part]))),
    h("p", {}, t("status.local")),
  );
}

async function learnModel() {
  models = await servedModels({ failed: () => status({ offline: true }) });
  // Whoever opens the page of a service for photos wants to show it one.
  if (!location.hash && models.every(({ kind }) => kind === "photo")) location.replace("#/classify");
  status();
}

addEventListener("hashchange", go);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", themeChanged);
document.getElementById("skip").addEventListener("click", (event) => { event.preventDefault(); main.focus(); });
refresh();
learnModel();
