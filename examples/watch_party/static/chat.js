/** The chat: the last messages of the room, what was said here and is not known to have arrived, and news. */

const NEWS = 8; // lines of news that stay
const NOT_YET = Infinity; // the time of a message that was said here, and is not known to be in the room's chat

export class Chat {
  #shown = new Map(); // message id -> its line, oldest first
  #waiting = new Map(); // message id -> its text: said here, and not answered
  #news = [];

  /**
   * @param {HTMLElement} log - what scrolls.
   * @param {HTMLOListElement} list - the lines.
   * @param {(id: string, text: string) => void} send - tries to send a message.
   */
  constructor(log, list, send) {
    this.log = log;
    this.list = list;
    this.send = send;
    this.kept = 20;
    this.you = "";
  }

  /** Show just these messages, as after coming back; and send again what is not among them. */
  replace(messages, { you, kept }) {
    this.you = you;
    this.kept = kept;
    const ids = new Set(messages.map((message) => message.id));
    for (const id of this.#shown.keys()) if (!ids.has(id) && !this.#waiting.has(id)) this.#remove(id);
    for (const message of messages) this.add(message);
    this.sendAgain();
  }

  /** Show a message that is in the room's chat. */
  add(message) {
    const line = this.#shown.get(message.id);
    if (line && line.timestamp !== NOT_YET) return;
    const times = [...this.#shown.values()].map((shown) => shown.timestamp).filter((time) => time !== NOT_YET);
    // Told late: it was pushed out already before the others were read.
    if (!line && times.length >= this.kept && message.timestamp < times[0]) return;
    this.#waiting.delete(message.id);
    if (line) this.#remove(message.id); // to its place in the order that all see
    this.#show(message);
    while (this.#shown.size > this.kept) this.#remove(this.#shown.keys().next().value);
  }

  /** Say something: it is shown as waiting until the room has it. */
  say(text, user) {
    const id = Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0"));
    const message = { id: id.join(""), userId: this.you, userName: user, message: text, timestamp: NOT_YET };
    this.#waiting.set(message.id, text);
    this.#show(message);
    this.send(message.id, text);
  }

  /** Send all again that has no answer: a message that is there already stays there once. */
  sendAgain() {
    for (const [id, text] of this.#waiting) this.send(id, text);
  }

  /** The room has it: what is shown is no longer waiting. */
  arrived(id) {
    this.#waiting.delete(id);
    this.#shown.get(id)?.classList.remove("waiting");
  }

  /** The room does not take it: return its text, to be said in another way. */
  takeBack(id) {
    const text = this.#waiting.get(id) ?? "";
    this.#waiting.delete(id);
    if (this.#shown.has(id)) this.#remove(id);
    return text;
  }

  /** Show a line of news. */
  tell(text) {
    const line = element("li", "news", text);
    this.#news.push(line);
    if (this.#news.length > NEWS) this.#news.shift().remove();
    this.#append(line);
  }

  /** Forget all of it. */
  clear() {
    this.#shown.clear();
    this.#waiting.clear();
    this.#news = [];
    this.list.replaceChildren();
  }

  #show(message) {
    const own = message.userId === this.you;
    const line = element("li", own ? "message own" : "message");
    line.dataset.id = message.id;
    line.timestamp = message.timestamp;
    line.classList.toggle("waiting", message.timestamp === NOT_YET);
    const name = element("span", "name", own ? "You" : message.userName);
    if (!own) name.style.setProperty("--hue", hueOf(message.userId));
    line.append(name, element("span", "unseen", ": "), element("span", "text", message.message));
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

/** Return a colour's hue for an id, the same everywhere. */
export function hueOf(id) {
  return String([...id].reduce((sum, letter) => (sum * 31 + letter.codePointAt(0)) % 360, 7));
}

/** Return a new element with a text in it: text, never HTML. */
export function element(tag, className = "", text = "") {
  const made = document.createElement(tag);
  made.className = className;
  made.textContent = text;
  return made;
}
