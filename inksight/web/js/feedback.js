// "That's right" and "It is a ...": in one tap, what the machine said becomes a correction that waits for review.
//
//   const feedback = makeFeedback({ answer: () => answer, classes: () => [...], notice });
//   feedback.enable(true); feedback.tell("cat");

import { post } from "./api.js";
import { h } from "./dom.js";
import { label, t } from "./i18n.js";
import { button, reason } from "./parts.js";
import { pick } from "./picker.js";

export function makeFeedback({ answer, classes, notice }) {
  const right = button("stamp-button", t("draw.right"), () => tell(answer().predictions[0].label), { image: "check" });
  const other = button("plain-button", t("draw.other"), choose, { image: "pencil" });

  async function tell(truth, judged = answer()) {
    try {
      await post("v1/feedback", { prediction_id: judged.id, label: truth, correct: truth === judged.predictions[0].label });
      notice(t("draw.thanks", { label: label(truth) }));
    } catch (error) {
      notice(t("draw.feedback.failed", { message: reason(error) }), "bad");
    }
  }

  async function choose() {
    const judged = answer();
    const truth = await pick(classes());
    // The answer may have been refined meanwhile, or cleared away.
    if (truth !== null) await tell(truth, answer() ?? judged);
  }

  return { element: h("div", { class: "feedback" }, right, other), tell, enable: (whether) => { right.disabled = other.disabled = !whether; } };
}
