/** The chat: the last messages of the room, the user's unconfirmed messages, and announcements. */

import { $, element, hueOf, randomHex } from "./dom.js";
import { MessageMenu, RovingFocus } from "./reactions.js";
import { ScrollToEnd } from "./scroll.js";

const MAX_ANNOUNCEMENTS = 8;
const PENDING = Infinity; // timestamp of a message that the server has not confirmed

export class Chat {
  #shown = new Map(); // message id -> its line, oldest first
  #pending = new Map(); // message id -> text of a message that the server has not confirmed
  #announcements = [];
  #list = $("messages");
  #scroll = new ScrollToEnd($("log"), $("messages"));
  #focus = new RovingFocus($("messages"), ".more");
  #menu;

  /**
   * @param {object} handlers - `send(id, text)`, `react(id, emoji, on)` and `remove(id)` send a request if there is a
   *   connection. `nameOf(id)` returns the name of a user in the room, or "".
   */
  constructor(handlers) {
    this.handlers = handlers;
    this.#menu = new MessageMenu($("menu"), $("log"), handlers);
    this.historyLimit = 20;
    this.you = "";
  }

  /** Take over the id of this user, and what the server states about the chat. */
  configure({ you, historyLimit, reactions }) {
    this.you = you;
    this.historyLimit = historyLimit;
    this.#menu.offer(reactions, you);
  }

  /** Show exactly these messages, as after a reconnect, and resend the pending messages that are not among them. */
  replace(messages) {
    const ids = new Set(messages.map((message) => message.id));
    for (const id of this.#shown.keys()) if (!ids.has(id) && !this.#pending.has(id)) this.#remove(id);
    for (const message of messages) {
      this.add(message);
      this.change(message);
    }
    this.resend();
    this.#update();
  }

  /** Show a message of the room's chat. */
  add(message) {
    const line = this.#shown.get(message.id);
    if (line && line.timestamp !== PENDING) return;
    const times = [...this.#shown.values()].map((shown) => shown.timestamp).filter((time) => time !== PENDING);
    // A late event: newer messages have evicted this one from the chat.
    if (!line && times.length >= this.historyLimit && message.timestamp < times[0]) return;
    this.#pending.delete(message.id);
    if (line) this.#remove(message.id); // #show() appends it in the order of the room's chat
    this.#show(message);
    while (this.#shown.size > this.historyLimit) this.#remove(this.#shown.keys().next().value);
  }

  /** Show a message as it is now. */
  change(message) {
    const line = this.#shown.get(message.id);
    if (!line || line.timestamp === PENDING) return;
    line.message = message;
    line.querySelector(".text").textContent = message.message;
    line.querySelector(".chips").replaceWith(this.#menu.chips(message, this.handlers.nameOf));
  }

  /** Remove a message that was deleted, and return whether this user wrote it. */
  remove(id) {
    const line = this.#shown.get(id);
    if (!line || line.timestamp === PENDING) return false;
    const focused = line.contains(document.activeElement);
    this.#remove(id);
    this.#update();
    if (focused) $("log").focus();
    return line.classList.contains("own");
  }

  /** Send a message. It is shown as waiting until the server confirms it. */
  say(text, user) {
    const message = { id: randomHex(), userId: this.you, userName: user, message: text, timestamp: PENDING };
    this.#pending.set(message.id, text);
    this.#show(message);
    this.handlers.send(message.id, text);
  }

  /** Resend the pending messages. The store keeps one message for each id. */
  resend() {
    for (const [id, text] of this.#pending) this.handlers.send(id, text);
  }

  /** Show a message as confirmed. */
  confirm(id) {
    this.#pending.delete(id);
    this.#shown.get(id)?.classList.remove("waiting");
  }

  /** Remove a message that the server rejected, and return its text. */
  reject(id) {
    const text = this.#pending.get(id) ?? "";
    this.#pending.delete(id);
    if (this.#shown.has(id)) this.#remove(id);
    this.#update();
    return text;
  }

  /** Show an announcement. */
  announce(text) {
    const line = element("li", "news", text);
    this.#announcements.push(line);
    if (this.#announcements.length > MAX_ANNOUNCEMENTS) this.#announcements.shift().remove();
    this.#append(line);
  }

  /** Remove all messages and announcements. */
  clear() {
    this.#shown.clear();
    this.#pending.clear();
    this.#announcements = [];
    this.#list.replaceChildren();
    this.#scroll.toEnd();
    this.#update();
  }

  #show(message) {
    const own = message.userId === this.you;
    const line = element("li", own ? "message own" : "message");
    line.dataset.id = message.id;
    line.timestamp = message.timestamp;
    line.message = message;
    line.classList.toggle("waiting", message.timestamp === PENDING);
    const name = element("span", "name", own ? "You" : message.userName);
    if (!own) name.style.setProperty("--hue", hueOf(message.userId));
    line.append(name, element("span", "visually-hidden", ": "), element("span", "text", message.message));
    if (message.timestamp !== PENDING) {
      line.append(this.#menu.chips(message, this.handlers.nameOf), this.#menu.button(() => line.message));
    }
    this.#shown.set(message.id, line);
    this.#append(line);
    this.#update();
  }

  #append(line) {
    this.#list.append(line);
    if (line.classList.contains("own")) this.#scroll.toEnd();
    else this.#scroll.follow();
  }

  #remove(id) {
    this.#menu.closeFor(id);
    this.#shown.get(id).remove();
    this.#shown.delete(id);
  }

  #update() {
    this.#focus.update();
    $("invitation").hidden = this.#shown.size > 0;
  }
}
