/** The time at the server, where the video must be by then, and how a player gets there. */

const SAMPLES = 12;
const TOLERANCE = 20; // ms: by so much clocks run apart while there are so many samples
const FAR = 1; // seconds: farther than this, jump
const OFF = 0.08; // from here on, run faster or slower ...
const CLOSE = 0.02; // ... until it is this close
const FASTER = 1.25; // a rate that all players know, with 0.75

/** The server's clock, as far as it can be known from here: the fastest of the last pings is the most exact. */
export class ServerClock {
  #samples = [];

  /** Take the times of a ping, in ms: when it was sent by `performance.now()`, and the server's time in the answer. */
  add(sent, now) {
    const arrived = performance.now();
    const sample = { trip: arrived - sent, offset: now - (sent + arrived) / 2 };
    // Two samples differ by no more than half of both trips, unless a clock jumped: this machine slept, say.
    const agrees = (old) => Math.abs(old.offset - sample.offset) <= (old.trip + sample.trip) / 2 + TOLERANCE;
    if (!this.#samples.every(agrees)) this.#samples = [];
    this.#samples.push(sample);
    if (this.#samples.length > SAMPLES) this.#samples.shift();
  }

  /** Forget all: the next answers may come from another server. */
  reset() {
    this.#samples = [];
  }

  /** Epoch milliseconds. */
  now() {
    if (!this.#samples.length) return Date.now();
    const best = this.#samples.reduce((one, other) => (other.trip < one.trip ? other : one));
    return performance.now() + best.offset;
  }
}

/** Return where a video of this state is at a time, in seconds: never beyond its end, if that is known. */
export function positionAt(state, now) {
  const passed = state.isPlaying ? Math.max(0, now - state.lastUpdateTime) / 1000 : 0;
  const position = state.currentTime + passed;
  return state.duration > 0 ? Math.min(position, state.duration) : position;
}

/**
 * Bring a player to a state: jump if it is paused or far off, else run a little faster or slower.
 * With `fresh`, the state is new: whoever is off jumps.
 */
export function steer(player, state, now, fresh = false) {
  const target = positionAt(state, now);
  const plays = state.isPlaying && !hasEnded(state, now);
  if (plays !== player.playing) plays ? player.play() : player.pause();
  if (player.busy) return;
  const behind = target - player.time;
  const off = Math.abs(behind);
  const far = !plays ? CLOSE : fresh ? OFF : FAR;
  if (off > far) player.seek(target);
  if (!plays || off > far || off < CLOSE) player.setRate(1);
  else if (off > OFF) player.setRate(behind > 0 ? FASTER : 2 - FASTER);
}

/** Tell whether a video of this state has come to its end. */
export function hasEnded(state, now) {
  return state.duration > 0 && positionAt(state, now) >= state.duration;
}

/** Return seconds as people write them: 1:05, or 1:00:05. */
export function clockTime(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const two = (number) => String(number).padStart(2, "0");
  return hours ? `${hours}:${two(minutes)}:${two(rest)}` : `${minutes}:${two(rest)}`;
}

/** Return seconds in words, for who does not see the numbers. */
export function spokenTime(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const parts = [
    [Math.floor(whole / 3600), "hour"],
    [Math.floor(whole / 60) % 60, "minute"],
    [whole % 60, "second"],
  ];
  const said = parts.filter(([number]) => number).map(([number, unit]) => `${number} ${unit}${number > 1 ? "s" : ""}`);
  return said.join(" ") || "the start";
}
