/** The chat: the last messages of the room, the user's unconfirmed messages, and announcements. */

const MAX_ANNOUNCEMENTS = 8;
const PENDING = Infinity; // timestamp of a message that the server has not confirmed

export class Chat {
  #shown = new Map(); // message id -> its line, oldest first
  #pending = new Map(); // message id -> text of a message that the server has not confirmed
  #announcements = [];

  /**
   * @param {HTMLElement} log - the scrolling element.
   * @param {HTMLOListElement} list - the list of lines.
   * @param {(id: string, text: string) => void} send - sends a message if there is a connection.
   */
  constructor(log, list, send) {
    this.log = log;
    this.list = list;
    this.send = send;
    this.historyLimit = 20;
    this.you = "";
  }

  /** Show exactly these messages, as after a reconnect, and resend the pending messages that are not among them. */
  replace(messages, { you, historyLimit }) {
    this.you = you;
    this.historyLimit = historyLimit;
    const ids = new Set(messages.map((message) => message.id));
    for (const id of this.#shown.keys()) if (!ids.has(id) && !this.#pending.has(id)) this.#remove(id);
    for (const message of messages) this.add(message);
    this.resend();
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

  /** Send a message. It is shown as waiting until the server confirms it. */
  say(text, user) {
    const id = Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0"));
    const message = { id: id.join(""), userId: this.you, userName: user, message: text, timestamp: PENDING };
    this.#pending.set(message.id, text);
    this.#show(message);
    this.send(message.id, text);
  }

  /** Resend the pending messages. The store keeps one message for each id. */
  resend() {
    for (const [id, text] of this.#pending) this.send(id, text);
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
    this.list.replaceChildren();
  }

  #show(message) {
    const own = message.userId === this.you;
    const line = element("li", own ? "message own" : "message");
    line.dataset.id = message.id;
    line.timestamp = message.timestamp;
    line.classList.toggle("waiting", message.timestamp === PENDING);
    const name = element("span", "name", own ? "You" : message.userName);
    if (!own) name.style.setProperty("--hue", hueOf(message.userId));
    line.append(name, element("span", "visually-hidden", ": "), element("span", "text", message.message));
    this.#shown.set(message.id, line);
    this.#append(line);
  }

  #append(line) {
    const atEnd = this.log.scrollHeight - this.log.scrollTop - this.log.clientHeight < 40;
    this.list.append(line);
    if (atEnd || line.classList.contains("own")) this.log.scrollTop = this.log.scrollHeight;
  }

  #remove(id) {
    this.#shown.get(id).remove();
    this.#shown.delete(id);
  }
}

/** Return a hue for an id, which is the same on every page. */
export function hueOf(id) {
  return String([...id].reduce((sum, letter) => (sum * 31 + letter.codePointAt(0)) % 360, 7));
}

/** Return a new element with a plain text in it. */
export function element(tag, className = "", text = "") {
  const created = document.createElement(tag);
  created.className = className;
  created.textContent = text;
  return created;
}
