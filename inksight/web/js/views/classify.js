// Classify: a picture is dropped, chosen, pasted or taken with the camera; the machine says what it is, how sure it is,
// and where it looked.

import { EXPLAINED, get, persist, post } from "../api.js";
import { hasCamera, openCamera } from "../camera.js";
import { makeChooser } from "../chooser.js";
import { h } from "../dom.js";
import { makeFeedback } from "../feedback.js";
import { makeGuesses } from "../guesses.js";
import { label, number, percent, t } from "../i18n.js";
import { tool } from "../pad.js";
import { button, makeSpoken, makeVerdict, reason } from "../parts.js";
import { prepare } from "../picture.js";
import { servedModels } from "../served.js";

export const id = "classify";

let kept = {}; // the picture and what was said of it, for whoever looks at another view and comes back

export function mount(root, { notice, status }) {
  let { picture = null, answer = null, heat = null } = kept; // {url}, as it was sent; heat: a data URL, what mattered in red
  let camera = null;
  let model = null;
  let question = 0; // the newest one; answers to older ones are dropped
  let reading = 0; // the newest file that was chosen, which may turn out to be no picture

  const photo = h("img", { class: "photo", alt: "", hidden: true });
  const video = h("video", { class: "photo", playsinline: true, hidden: true });
  video.muted = true;
  const invitation = h("p", { class: "invitation", "aria-hidden": "true" }, h("strong", {}, t("classify.invite")), h("span", {}, t("classify.ways")));
  const file = h("input", { type: "file", accept: "image/*", hidden: true, tabindex: -1, "aria-label": t("classify.choose") });
  const shot = h("input", { type: "file", accept: "image/*", capture: "environment", hidden: true, tabindex: -1, "aria-label": t("classify.camera") });
  const choose = tool("picture", t("classify.choose"), () => file.click());
  const film = tool("camera", t("classify.camera"), () => (hasCamera() ? startCamera() : shot.click()));
  const take = button("stamp-button", t("camera.take"), () => { const taken = camera.picture(); stopCamera(); judge(taken); film.focus(); }, { image: "camera" });
  const cancel = button("plain-button", t("camera.cancel"), () => { stopCamera(); show(); film.focus(); });
  const shutter = h("div", { class: "shutter", hidden: true }, take, cancel);
  const paper = h("div", { class: "paper" }, h("div", { class: "ground" }, photo, video), invitation, shutter);
  const chooser = makeChooser(chooseModel, { titled: false });

  const verdict = makeVerdict();
  const { overline, word, share } = verdict;
  const feedback = makeFeedback({ answer: () => answer, classes: () => model.labels, notice });
  const guesses = makeGuesses({ onpick: (name) => feedback.tell(name) });
  const looked = h("img", { alt: t("classify.looked") });
  const caption = h("figcaption", { class: "beside", role: "status" });
  const seen = h("figure", { class: "seen looked" }, h("div", { class: "stamp" }, looked), caption);
  const spoken = makeSpoken();

  root.append(h("section", { class: "draw classify blank waiting" },
    h("div", { class: "pad" }, paper, h("div", { class: "tools" }, choose, film, file, shot, h("span", { class: "gap" }), chooser.element)),
    h("div", { class: "margin" }, verdict.element, feedback.element, guesses.element, seen), spoken));
  const section = root.firstElementChild;

  function show() {
    const busy = picture !== null && answer === null;
    section.classList.toggle("blank", picture === null && camera === null);
    section.classList.toggle("waiting", answer === null);
    section.classList.toggle("unsure", Boolean(answer?.unsure));
    photo.hidden = picture === null || camera !== null;
    if (picture) [photo.src, photo.alt] = [picture.url, t("classify.picture")];
    video.hidden = shutter.hidden = camera === null;
    feedback.enable(answer !== null && model !== null);
    const [best, ...rest] = answer?.predictions ?? [];
    overline.textContent = answer ? t(answer.unsure ? "draw.unsure" : "draw.see") : "";
    word.textContent = answer ? label(best.label) : t(busy ? "classify.looking" : "classify.blank");
    share.textContent = answer ? percent(best.probability) : busy ? "" : t(model?.kind === "photo" ? "classify.blank.photo" : "classify.blank.drawing", { count: number(model?.classes ?? 0) });
    verdict.underline(answer ? best.probability : 0);
    guesses.show(rest);
    seen.hidden = answer === null;
    looked.parentElement.hidden = heat === null;
    if (heat) [looked.src, caption.textContent] = [heat, t("classify.looked")];
  }

  async function open(chosen) {
    if (!chosen) return;
    if (camera) {
      stopCamera();
      show();
    }
    const asked = (reading += 1); // before it is read: a large picture takes longer than a small one after it
    try {
      const taken = await prepare(chosen);
      if (asked === reading) await judge(taken);
    } catch (error) {
      if (asked === reading) notice(reason(error), "bad");
    }
  }

  // What is still being read or judged comes too late.
  function forget() {
    reading += 1;
    question += 1;
  }

  async function judge(taken) {
    forget();
    const asked = question;
    picture = taken;
    answer = heat = null;
    caption.textContent = "";
    show();
    const body = { image: taken.url, top: 5, ...(model && { model: model.name }) };
    try {
      const found = await persist(() => post("v1/predict", body), { gone: () => asked !== question, failed });
      if (asked !== question) return;
      answer = found;
    } catch (error) {
      if (asked !== question) return;
      picture = null;
      show();
      return notice(reason(error), "bad");
    }
    const [best] = answer.predictions;
    status({ ms: answer.ms, by: answer.model.name, version: answer.model.version });
    spoken.textContent = t("draw.announce", { label: label(best.label), percent: percent(best.probability) });
    caption.textContent = t("classify.looking.back");
    show();
    await explain(asked, body);
  }

  // The server is away, starting or busy, and will be asked again.
  function failed(error) {
    if (error.status !== 0) return;
    status({ offline: true });
    share.textContent = spoken.textContent = t("status.offline"); // the foot of the page may be out of sight
  }

  async function explain(asked, { top, ...body }) {
    try {
      const found = await post("v1/explain", body, { seconds: EXPLAINED });
      if (asked !== question) return;
      heat = found.picture;
    } catch (error) {
      if (asked !== question) return;
      // The picture was judged: nothing is wrong with it.
      caption.textContent = error.status === 422 ? t("classify.slow") : reason(error);
    }
    show();
  }

  async function startCamera() {
    if (camera) return stopCamera(), show();
    film.disabled = true;
    try {
      camera = await openCamera(video);
      forget();
      picture = answer = heat = null;
      // The view may have been left while the permission was asked for.
      if (!section.isConnected) return stopCamera();
      show();
      take.focus();
    } catch (error) {
      notice(error.message, "bad");
    } finally {
      film.disabled = false;
    }
    if (!camera) film.focus(); // which it lost while it was disabled
  }

  function stopCamera() {
    camera?.close();
    camera = null;
  }

  async function chooseModel(name) {
    try {
      const found = await get(`v1/models/${encodeURIComponent(name)}`);
      // Another one may have been chosen meanwhile, or the view left.
      if (chooser.value !== name || !section.isConnected) return;
      model = found;
    } catch (error) {
      return notice(reason(error), "bad");
    }
    if (answer?.model.name === name) return heat ? show() : explain(question, { image: picture.url, model: name });
    status({ by: name, ms: null });
    if (picture) judge(picture);
    else show();
  }

  async function learnModels() {
    const models = await servedModels({ gone: () => !section.isConnected });
    if (!section.isConnected) return;
    // A picture is what a model of photos is for; without one, the model that answers by default reads drawings on paper.
    const first = models.find(({ name }) => name === answer?.model.name) ?? models.find(({ kind }) => kind === "photo") ?? models[0];
    chooser.offer(models.map(({ name, kind }) => [name, `${name} (${t(`classify.kind.${kind}`)})`]), first.name);
    await chooseModel(first.name);
  }

  for (const input of [file, shot]) input.addEventListener("change", () => { open(input.files[0]); input.value = ""; });
  const abort = new AbortController();
  const on = (name, handler) => addEventListener(name, handler, { signal: abort.signal });
  const hovering = (whether) => section.classList.toggle("dropping", whether);
  on("dragover", (event) => { event.preventDefault(); hovering(true); });
  on("dragleave", (event) => { if (!event.relatedTarget) hovering(false); });
  on("drop", (event) => {
    event.preventDefault();
    hovering(false);
    const [dropped] = event.dataTransfer.files;
    if (dropped) open(dropped);
    else notice(t("classify.no.file"), "bad");
  });
  on("paste", (event) => { if (event.clipboardData?.files.length) open(event.clipboardData.files[0]); });
  // The camera's buttons lie on the paper too; after the one that closes it, the paper is blank.
  paper.addEventListener("click", ({ target }) => { if (section.classList.contains("blank") && !shutter.contains(target)) file.click(); });
  show();
  learnModels();

  return () => {
    forget();
    kept = { picture, answer, heat };
    abort.abort();
    stopCamera();
  };
}

export default { id, mount };
