// The machine's voice. Only voices that are on this device are used: others would send the words elsewhere.

import { read, write } from "./store.js";

const STORED = "inksight.voice";
let on = read("localStorage", STORED) !== "off";

const voices = () => globalThis.speechSynthesis?.getVoices().filter(({ localService }) => localService) ?? [];

export const hasVoice = () => "speechSynthesis" in globalThis;
export const voiceOn = () => on;

export function setVoice(wanted) {
  on = wanted;
  write("localStorage", STORED, wanted ? "on" : "off");
  if (!wanted) hush();
}

// Says a text unless something is being said; `urgent` interrupts.
export function say(text, language, { urgent = false } = {}) {
  if (!on || !hasVoice()) return;
  if (speechSynthesis.speaking && !urgent) return;
  const voice = voices().find(({ lang }) => lang.slice(0, 2) === language);
  if (!voice) return;
  speechSynthesis.cancel();
  const words = new SpeechSynthesisUtterance(text);
  words.voice = voice;
  words.lang = voice.lang;
  speechSynthesis.speak(words);
}

export function hush() {
  globalThis.speechSynthesis?.cancel();
}
