// A player's seat in a race, over a WebSocket: joins, comes back by itself when the line breaks, asks what is seen.
//
//   const table = new Table(code, { onroom, onwelcome, onerror, onlost, onend });
//   table.join("Ada"); table.start(); table.ask(round, strokes).then(({ predictions, won }) => ...); table.close();
//
// onlost: the line broke and is tried again. onend({ status, message, hint }): it will not be: the room is gone (404)
// or full (409), the name is not allowed (422), the player came in elsewhere (1), or the server answers but lets no
// line through from here (403).

import { ApiError, get } from "./api.js";
import { read, remove, write } from "./store.js";

const OFFSET = 4000;
const SILENCE = 5000; // a line on which nothing is heard for so long, though something is due, is dead
const AWAY = 10_000; // a page that was hidden for so long may have lost its line without being told
const REFUSALS = 3; // in a row while the server answers: one may be chance
const FINAL = [1, 404, 409, 422]; // what ends a line for good
const stored = (code) => `inksight.race.${code}`;

export class Table {
  #code;
  #handlers;
  #socket = null;
  #name = "";
  #asked = null;
  #error = null;
  #wait = 250;
  #timer = 0;
  #silent = 0;
  #refusals = 0;
  #closed = false;
  #hidden = null; // since when nobody has looked at the page

  constructor(code, handlers) {
    this.#code = code;
    this.#handlers = handlers;
    addEventListener("online", this.#renew);
    document.addEventListener("visibilitychange", this.#looked);
  }

  // Whether this tab has had a seat here: a page that is loaded again need not ask for a name.
  get known() {
    return read("sessionStorage", stored(this.#code)) !== null;
  }

  join(name) {
    this.#name = name;
    const address = new URL(`v1/race/rooms/${encodeURIComponent(this.#code)}/play`, document.baseURI);
    address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(address);
    this.#socket = socket;
    this.#error = null;
    let opened = false;
    socket.onopen = () => {
      opened = true;
      this.#refusals = 0;
      this.say("join", { name, token: read("sessionStorage", stored(this.#code)) });
    };
    socket.onmessage = ({ data }) => this.#hear(JSON.parse(data));
    socket.onclose = ({ code }) => {
      this.#lost(code);
      if (!opened) this.#wonder();
    };
    this.expect();
  }

  // Something is due: if nothing at all is heard, the line is given up and made anew.
  expect() {
    clearTimeout(this.#silent);
    this.#silent = setTimeout(() => {
      this.#drop();
      this.#lost(null);
    }, SILENCE);
  }

  #drop() {
    const socket = this.#socket;
    socket.onopen = socket.onclose = socket.onmessage = null;
    socket.close();
  }

  // Whoever comes back from elsewhere takes the seat again over a new line: the old one may be dead and not know it.
  #renew = () => {
    if (this.#socket === null || this.#closed) return;
    clearTimeout(this.#timer);
    this.#drop();
    this.#answer("reject", new ApiError(503));
    this.join(this.#name);
  };

  #looked = () => {
    if (document.hidden) this.#hidden = performance.now();
    else if (this.#hidden !== null && performance.now() - this.#hidden > AWAY) this.#renew();
  };

  // The host begins a round: all in the room are told.
  start() {
    this.say("start");
    this.expect();
  }

  say(type, more = {}) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify({ type, ...more }));
  }

  // One question at a time: the promise ends with the answer, or with why there is none.
  ask(round, strokes) {
    return new Promise((resolve, reject) => {
      // While the line is down, the same question may be asked again.
      if (this.#socket?.readyState !== WebSocket.OPEN) return reject(new ApiError(503));
      this.#asked = { resolve, reject };
      this.say("strokes", { round, strokes });
      this.expect();
    });
  }

  leave() {
    this.say("leave");
    remove("sessionStorage", stored(this.#code));
    this.close();
  }

  close() {
    this.#closed = true;
    removeEventListener("online", this.#renew);
    document.removeEventListener("visibilitychange", this.#looked);
    clearTimeout(this.#timer);
    clearTimeout(this.#silent);
    this.#socket?.close();
    this.#answer("reject", new ApiError(409));
  }

  #answer(how, value) {
    const asked = this.#asked;
    this.#asked = null;
    asked?.[how](value);
    return asked !== null;
  }

  #hear(said) {
    if (this.#closed) return;
    clearTimeout(this.#silent);
    if (said.type === "welcome") {
      write("sessionStorage", stored(this.#code), said.token);
      this.#wait = 250;
      this.#handlers.onwelcome(said);
    } else if (said.type === "room") this.#handlers.onroom(said);
    else if (said.type === "judged") this.#answer("resolve", said);
    else if (said.type === "error") {
      this.#error = new ApiError(said.status, said.error);
      // What ends the line is told once: when it does.
      if (!this.#answer("reject", this.#error) && !FINAL.includes(said.status)) this.#handlers.onerror(this.#error);
    }
  }

  #lost(code) {
    if (this.#closed) return;
    clearTimeout(this.#silent);
    this.#answer("reject", new ApiError(503));
    const status = code - OFFSET;
    if (FINAL.includes(status)) {
      this.#socket = null;
      this.#handlers.onend(this.#error?.status === status ? this.#error : new ApiError(status));
      return;
    }
    this.#handlers.onlost();
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.join(this.#name), this.#wait);
    this.#wait = Math.min(5000, this.#wait * 2);
  }

  // The line was not let through. A browser does not tell why: the server may be away, or it, or a proxy before it,
  // refuses this page.
  async #wonder() {
    let why = null;
    try {
      await get(`v1/race/rooms/${encodeURIComponent(this.#code)}`);
      this.#refusals += 1;
      if (this.#refusals >= REFUSALS) why = new ApiError(403, { code: "refused" });
    } catch (error) {
      this.#refusals = 0;
      if (!error.passing) why = error;
    }
    if (why === null || this.#closed || this.#socket.readyState === WebSocket.OPEN) return;
    this.close();
    this.#handlers.onend(why);
  }
}
