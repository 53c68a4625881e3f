// Asks the server what it sees while the pen moves: one question at a time, always about the newest strokes.
//
//   const guesser = new Guesser({ onanswer: (answer) => ..., onerror: (error) => ... }, send);
//                                          send: (strokes) => promise of an answer
//   guesser.ask(strokes)                   as often as you like
//   guesser.forget()                       the sheet is blank again: an answer still under way is dropped

import { pause } from "./api.js";

const PAUSE = 60;

export class Guesser {
  #wanted = null;
  #busy = false;
  #round = 0;
  #handlers;
  #send;

  constructor(handlers, send) {
    this.#handlers = handlers;
    this.#send = send;
  }

  ask(strokes) {
    // A copy: the pen goes on while the question is under way.
    this.#wanted = strokes.map(([xs, ys]) => [xs.slice(), ys.slice()]);
    if (!this.#busy) this.#next();
  }

  forget() {
    this.#wanted = null;
    this.#round++;
  }

  async #next() {
    this.#busy = true;
    let wait = PAUSE;
    while (this.#wanted !== null) {
      const strokes = this.#wanted;
      const round = this.#round;
      this.#wanted = null;
      try {
        const answer = await this.#send(strokes);
        wait = PAUSE;
        if (round === this.#round) this.#handlers.onanswer(answer, strokes);
      } catch (error) {
        if (round === this.#round) this.#handlers.onerror(error);
        // A server that is starting or busy is asked again, ever less often; a refused drawing is not.
        if (error.passing) {
          this.#wanted ??= round === this.#round ? strokes : null;
          wait = Math.min(5000, wait * 2);
        }
      }
      await pause(wait);
    }
    this.#busy = false;
  }
}
