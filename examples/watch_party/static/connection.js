/** A WebSocket that reconnects. The server sends the complete state after each connection. */

const FIRST_DELAY = 250; // ms
const MAX_DELAY = 8000;
const PING_INTERVAL = 3000;
const REPLY_TIMEOUT = 9000; // ms without a reply to a ping, after which the connection is considered lost

export class Connection {
  /**
   * @param {object} handlers - `hello()` returns the first message. `message(value)` receives each other message.
   *   `disconnected(reason)` is called when the connection is lost. `ponged(sent, now)` receives the times of a pong.
   */
  constructor(handlers) {
    this.handlers = handlers;
    this.failures = 0;
    this.closed = false;
    this.reconnect = () => this.failures && document.visibilityState === "visible" && this.open();
    addEventListener("online", this.reconnect);
    document.addEventListener("visibilitychange", this.reconnect);
    this.open();
  }

  open() {
    this.drop();
    const socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/party`);
    this.socket = socket;
    this.lastReplyAt = performance.now();
    this.pings = 0;
    socket.onopen = () => {
      this.send(this.handlers.hello());
      this.ping(socket);
    };
    socket.onmessage = (event) => {
      this.lastReplyAt = performance.now();
      const message = JSON.parse(event.data);
      if (message.type === "pong") {
        this.handlers.ponged(message.sent, message.now);
        return;
      }
      if (message.type === "state") this.failures = 0;
      if (message.type === "end") this.close();
      this.handlers.message(message);
    };
    socket.onclose = (event) => this.lost(event.reason);
    this.pingTimer = setInterval(() => {
      if (performance.now() - this.lastReplyAt > REPLY_TIMEOUT) this.lost("");
      else this.ping(socket);
    }, PING_INTERVAL);
  }

  /** Send a message if there is a connection, and return whether there is one. */
  send(message) {
    if (this.socket?.readyState !== WebSocket.OPEN) return false;
    this.socket.send(JSON.stringify(message));
    return true;
  }

  /** Close the connection and stop reconnecting. */
  close() {
    this.closed = true;
    removeEventListener("online", this.reconnect);
    document.removeEventListener("visibilitychange", this.reconnect);
    this.drop();
  }

  lost(reason) {
    this.drop();
    if (this.closed) return;
    this.failures += 1;
    const delay = Math.min(MAX_DELAY, FIRST_DELAY * 2 ** this.failures);
    this.reconnectTimer = setTimeout(() => this.open(), delay * (0.5 + Math.random() / 2));
    this.handlers.disconnected(reason);
  }

  drop() {
    clearTimeout(this.reconnectTimer);
    clearInterval(this.pingTimer);
    const socket = this.socket;
    this.socket = null;
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
  }

  /** Request the server's time. The first five pings follow quickly, because the fastest reply is the most exact. */
  ping(socket) {
    if (socket !== this.socket) return;
    this.send({ type: "ping", sent: performance.now() });
    this.pings += 1;
    if (this.pings < 5) setTimeout(() => this.ping(socket), 150);
  }
}
