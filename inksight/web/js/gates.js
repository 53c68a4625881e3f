// What the gates say of a version, in the reader's language: from a reason and its values, not from the server's words.

import { LANGUAGES, label, language, number, percent, t } from "./i18n.js";

const tiny = (value) => value.toExponential(1).replace(".", language() === "fr" ? "," : ".");
const exact = (value) => percent(value, 2);
const signed = (value) => `${value < 0 ? "−" : "+"}${exact(Math.abs(value))}`;
const SHOWN = { accuracy: exact, before: exact, least: exact, gap: signed, margin: exact, difference: tiny, allowed: tiny,
  changes: number, samples: number, count: number, chance: number, of: number, unmeasured: number, right: number, ms: (value) => number(value, 3),
  size: (value) => number(value, 2), most: (value) => number(value, 2) };

// gateText({ reason: "overall", values: { accuracy: 0.9, ... }, detail: "accuracy 90.00% against ..." })
export function gateText({ reason, values = {}, detail }) {
  const key = `gates.${reason}`;
  // A version of the server that knows more reasons than this page, or a move from before reasons were kept.
  if (!(key in LANGUAGES.en.texts)) return detail;
  const shown = Object.fromEntries(Object.entries(values).map(([name, value]) => [name,
    value === null ? "?" : typeof value === "number" && SHOWN[name] ? SHOWN[name](value) : value]));
  if (values.worse) {
    shown.list = values.worse.map(({ class: name, before, after, samples }) => after === null
      ? t("gates.missing", { label: label(name) })
      : t("gates.class", { label: label(name), before: percent(before, 1), after: percent(after, 1), samples: number(samples) }))
      .join(", ");
  }
  const passedOver = values.unmeasured ? ` ${t("gates.unmeasured", { count: shown.unmeasured })}` : "";
  return t(key, shown) + passedOver;
}
