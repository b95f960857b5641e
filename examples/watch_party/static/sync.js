/** The server's clock, the position of the video at a given time, and the control that keeps a player at it. */

const SAMPLES = 12;
const TOLERANCE = 20; // ms that two clocks can drift apart while the samples are collected
const FAR = 1; // seconds of difference above which the player seeks
const OFF = 0.08; // seconds of difference above which the player changes its rate ...
const CLOSE = 0.02; // ... until the difference is below this
const FASTER = 1.25; // a rate that all players support, as 0.75

/** An estimate of the server's clock, from the last ping with the shortest round trip. */
export class ServerClock {
  #samples = [];

  /** Add a sample, in ms: `performance.now()` when the ping was sent, and the server's time in the pong. */
  add(sent, now) {
    const arrived = performance.now();
    const sample = { trip: arrived - sent, offset: now - (sent + arrived) / 2 };
    // Two offsets differ by at most half of both round trips, unless a clock jumped, for example during a suspend.
    const agrees = (old) => Math.abs(old.offset - sample.offset) <= (old.trip + sample.trip) / 2 + TOLERANCE;
    if (!this.#samples.every(agrees)) this.#samples = [];
    this.#samples.push(sample);
    if (this.#samples.length > SAMPLES) this.#samples.shift();
  }

  /** Discard all samples, because the next replies may come from another server. */
  reset() {
    this.#samples = [];
  }

  /** Return the server's time in epoch milliseconds. */
  now() {
    if (!this.#samples.length) return Date.now();
    const best = this.#samples.reduce((first, second) => (second.trip < first.trip ? second : first));
    return performance.now() + best.offset;
  }
}

/** Return the position in seconds of a video with this state at a time, limited to its duration if that is known. */
export function positionAt(state, now) {
  const passed = state.isPlaying ? Math.max(0, now - state.lastUpdateTime) / 1000 : 0;
  const position = state.currentTime + passed;
  return state.duration > 0 ? Math.min(position, state.duration) : position;
}

/**
 * Bring a player to the position of a state. The player seeks if it is paused or far off, else it changes its rate.
 * With `fresh`, the state is new, and the player seeks instead of changing its rate.
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

/** Return whether a video with this state has ended. */
export function hasEnded(state, now) {
  return state.duration > 0 && positionAt(state, now) >= state.duration;
}

/** Format seconds as 1:05 or 1:00:05. */
export function clockTime(seconds) {
  const total = Math.max(0, Math.floor(seconds));
  const [hours, minutes, rest] = [Math.floor(total / 3600), Math.floor(total / 60) % 60, total % 60];
  const two = (number) => String(number).padStart(2, "0");
  return hours ? `${hours}:${two(minutes)}:${two(rest)}` : `${minutes}:${two(rest)}`;
}

/** Format seconds in words, for screen readers. */
export function spokenTime(seconds) {
  const total = Math.max(0, Math.floor(seconds));
  const parts = [
    [Math.floor(total / 3600), "hour"],
    [Math.floor(total / 60) % 60, "minute"],
    [total % 60, "second"],
  ];
  const words = parts.filter(([number]) => number).map(([number, unit]) => `${number} ${unit}${number > 1 ? "s" : ""}`);
  return words.join(" ") || "the start";
}
