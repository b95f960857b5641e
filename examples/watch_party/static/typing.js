/** The line that shows who is writing a message. It is not a live region, because the messages are announced. */

import { setText } from "./dom.js";

const INTERVAL = 3000; // ms between two notices while the user writes
const SHOWN = 5000; // ms for which a notice of another user is shown

export class Typing {
  #timers = new Map(); // user id -> timer that ends the notice
  #sentAt = -Infinity;

  /**
   * @param {HTMLElement} line - the line.
   * @param {HTMLInputElement} input - the input of the message.
   * @param {{ send: () => void, nameOf: (id: string) => string }} handlers - `send` sends a notice about this user.
   *   `nameOf` returns the name of another user in the room, or "".
   */
  constructor(line, input, handlers) {
    this.line = line;
    this.handlers = handlers;
    input.addEventListener("input", () => {
      if (!input.value.trim() || performance.now() - this.#sentAt < INTERVAL) return;
      this.#sentAt = performance.now();
      handlers.send();
    });
  }

  /** Show for a while that a user is writing. */
  show(userId) {
    clearTimeout(this.#timers.get(userId));
    this.#timers.set(userId, setTimeout(() => this.stop(userId), SHOWN));
    this.render();
  }

  /** Stop showing that a user is writing. */
  stop(userId) {
    clearTimeout(this.#timers.get(userId));
    if (this.#timers.delete(userId)) this.render();
  }

  /** This user has sent the message, so the next input is a new one. */
  sent() {
    this.#sentAt = -Infinity;
  }

  /** Show nobody. */
  clear() {
    this.sent();
    for (const userId of [...this.#timers.keys()]) this.stop(userId);
  }

  /** Update the line, for example after a user has left. */
  render() {
    const names = [...this.#timers.keys()].map((id) => this.handlers.nameOf(id)).filter(Boolean);
    if (names.length > 2) setText(this.line, `${names.length} people are typing …`);
    else if (names.length) setText(this.line, `${names.join(" and ")} ${names.length > 1 ? "are" : "is"} typing …`);
    else setText(this.line, "");
  }
}
