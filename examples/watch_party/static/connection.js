/**
 * A WebSocket that comes back. Whoever uses it says hello each time it opens, and reads everything anew.
 */

const FIRST_WAIT = 250; // ms
const LONGEST_WAIT = 8000;
const PING_EVERY = 3000;
const SILENCE = 9000; // the server answers every ping: after this, nobody is there

export class Connection {
  /**
   * @param {object} handlers - `hello()` returns the first message; `message(value)` gets each other message;
   *   `away(reason)` is called when the connection is lost; `pinged(sent, now)` gets the times of an answered ping.
   */
  constructor(handlers) {
    this.handlers = handlers;
    this.failures = 0;
    this.closed = false;
    this.comeBack = () => this.failures && document.visibilityState === "visible" && this.open();
    addEventListener("online", this.comeBack);
    document.addEventListener("visibilitychange", this.comeBack);
    this.open();
  }

  open() {
    this.drop();
    const socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/party`);
    this.socket = socket;
    this.heard = performance.now();
    this.pings = 0;
    socket.onopen = () => {
      this.send(this.handlers.hello());
      this.ping(socket);
    };
    socket.onmessage = (event) => {
      this.heard = performance.now();
      const message = JSON.parse(event.data);
      if (message.type === "pong") {
        this.handlers.pinged(message.sent, message.now);
        return;
      }
      if (message.type === "state") this.failures = 0;
      if (message.type === "end") this.close();
      this.handlers.message(message);
    };
    socket.onclose = (event) => this.lost(event.reason);
    this.watch = setInterval(() => {
      if (performance.now() - this.heard > SILENCE) this.lost("");
      else this.ping(socket);
    }, PING_EVERY);
  }

  /** Send a message if there is a connection; tell whether there is. */
  send(message) {
    if (this.socket?.readyState !== WebSocket.OPEN) return false;
    this.socket.send(JSON.stringify(message));
    return true;
  }

  /** Connect no more. */
  close() {
    this.closed = true;
    removeEventListener("online", this.comeBack);
    document.removeEventListener("visibilitychange", this.comeBack);
    this.drop();
  }

  lost(reason) {
    this.drop();
    if (this.closed) return;
    this.failures += 1;
    const longest = Math.min(LONGEST_WAIT, FIRST_WAIT * 2 ** this.failures);
    this.timer = setTimeout(() => this.open(), longest * (0.5 + Math.random() / 2));
    this.handlers.away(reason);
  }

  drop() {
    clearTimeout(this.timer);
    clearInterval(this.watch);
    const socket = this.socket;
    this.socket = null;
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
  }

  /** Ask what time it is: some times in a row at first, because the fastest answer is the most exact. */
  ping(socket) {
    if (socket !== this.socket) return;
    this.send({ type: "ping", sent: performance.now() });
    this.pings += 1;
    if (this.pings < 5) setTimeout(() => this.ping(socket), 150);
  }
}
