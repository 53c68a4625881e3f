// The form that asks for an admin token. It is kept until the tab is closed (see api.js).

import { admin } from "./api.js";
import { h } from "./dom.js";
import { t } from "./i18n.js";
import { reason } from "./parts.js";

// makeGate({ title, text, scope: "review", onopen, error: why the last token was refused })
export function makeGate({ title, text, scope, onopen, error = null }) {
  const field = h("input", { type: "password", id: "token", autocomplete: "off", required: true });
  function submit(event) {
    event.preventDefault();
    // A token is plain ASCII; what chats and documents add to one, as spaces of no width, no header can carry.
    admin.remember(field.value.replace(/[^\x21-\x7e]/g, ""));
    onopen();
  }
  const message = error?.status === 403 ? t("gate.forbidden", { scope }) : error ? reason(error) : "";
  const element = h("form", { class: "gate", onsubmit: submit },
    h("h2", {}, title), h("p", {}, text),
    h("label", { for: "token" }, t("gate.token", { scope })), field,
    h("p", { class: "wrong", role: "alert" }, message),
    h("button", { class: "stamp-button", type: "submit" }, t("gate.open")));
  return { element, field };
}

// Whether an error means that the token is of no use here.
export const refused = (error) => error.status === 401 || error.status === 403;
