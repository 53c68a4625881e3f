// The page's languages. t("draw.clear") is the text; label("cat") the name of a class in the reader's language.
//
// In a text, {count} is the value and {count|word|words} the form that goes with it: French says 0 and 1 like one.

import en from "./lang/en.js";
import fr from "./lang/fr.js";
import { read, write } from "./store.js";

export const LANGUAGES = { en, fr };
const STORED = "inksight.language";
let current = pick();
let plural = new Intl.PluralRules(current);

function pick() {
  const stored = read("localStorage", STORED);
  if (stored in LANGUAGES) return stored;
  for (const wish of navigator.languages ?? []) if (wish.slice(0, 2) in LANGUAGES) return wish.slice(0, 2);
  return "en";
}

export const language = () => current;

export function setLanguage(code) {
  current = code;
  plural = new Intl.PluralRules(code);
  write("localStorage", STORED, code);
  document.documentElement.lang = code;
}

export function t(key, values = {}) {
  const text = LANGUAGES[current].texts[key] ?? en.texts[key] ?? key;
  return text.replace(/\{(\w+)(?:\|([^|}]*)\|([^|}]*))?\}/g, (_, name, one, many) =>
    one === undefined ? values[name] ?? "" : plural.select(Number(values[name])) === "one" ? one : many);
}

// What kind of error it is, in the reader's language: the server's own words are technical, and English.
export const failure = (code) => LANGUAGES[current].errors[code] ?? LANGUAGES[current].errors.error;

export const label = (name) => LANGUAGES[current].labels[name] ?? name;

// Numbers and dates as the reader's country writes them, where it speaks this language.
const locale = () => navigator.languages?.find((wish) => wish.slice(0, 2) === current) ?? current;

export const percent = (share, digits = 0) =>
  new Intl.NumberFormat(locale(), { style: "percent", minimumFractionDigits: digits, maximumFractionDigits: digits }).format(share);

export const date = (text) => new Intl.DateTimeFormat(locale(), { dateStyle: "medium", timeStyle: "short" }).format(new Date(text));

// A day as the server counts them, "2026-11-22" in UTC.
export const day = (text) => new Intl.DateTimeFormat(locale(), { dateStyle: "medium", timeZone: "UTC" }).format(new Date(text));

export const number = (value, digits = 0) =>
  new Intl.NumberFormat(locale(), { maximumFractionDigits: digits }).format(value);

document.documentElement.lang = current;
