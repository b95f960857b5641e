/**
 * Players with a common interface: `time` and `duration` (seconds, 0 if unknown), `ready` (false while the video is
 * loading), `playing`, `busy` (true while the player cannot be controlled), `hasSound`, `play()`, `pause()`,
 * `seek(seconds)`, `setRate(rate)`, `setVolume(level)` (0 to 1) and `destroy()`.
 *
 * Callbacks: `length()` when the duration is known, `muted()` when the browser blocks sound without a click, and
 * `failed(reason)` when the video cannot be played.
 */

import { drawFilm } from "./film.js";
import { YouTubePlayer, loadYouTube } from "./youtube.js";

const DRAWN_LENGTH = 600; // seconds

/** Open a player for the video in an element. Returns null if it cannot be opened, after a call of `failed()`. */
export async function openPlayer(stage, video, callbacks) {
  if (video.videoType === "file") return new FilePlayer(stage, video.videoUrl, callbacks);
  if (video.videoType !== "youtube") return new DrawnPlayer(stage, video.videoState.duration || DRAWN_LENGTH);
  try {
    return new YouTubePlayer(stage, video.videoUrl, await loadYouTube(), callbacks);
  } catch (error) {
    callbacks.failed(error.reason ?? "unplayable");
    return null;
  }
}

/** A film that the page draws without a network. It looks the same on every page. */
export class DrawnPlayer {
  #start = 0;
  #startedAt = 0;
  #rate = 1;

  constructor(stage, duration) {
    this.duration = duration;
    this.ready = true;
    this.playing = false;
    this.busy = false;
    this.hasSound = false;
    this.canvas = document.createElement("canvas");
    this.canvas.setAttribute("role", "img");
    this.canvas.setAttribute("aria-label", "A drawn film: a day by the sea");
    stage.replaceChildren(this.canvas);
    const draw = () => {
      drawFilm(this.canvas, this.time, this.duration);
      this.frame = requestAnimationFrame(draw);
    };
    draw();
  }

  get time() {
    const passed = this.playing ? ((performance.now() - this.#startedAt) / 1000) * this.#rate : 0;
    return Math.min(this.duration, this.#start + passed);
  }

  #restartAt(time) {
    this.#start = Math.max(0, time);
    this.#startedAt = performance.now();
  }

  play() {
    this.#restartAt(this.time);
    this.playing = true;
  }

  pause() {
    this.#restartAt(this.time);
    this.playing = false;
  }

  seek(seconds) {
    this.#restartAt(seconds);
  }

  setRate(rate) {
    if (rate === this.#rate) return;
    this.#restartAt(this.time);
    this.#rate = rate;
  }

  setVolume() {}

  destroy() {
    cancelAnimationFrame(this.frame);
    this.canvas.remove();
  }
}

/** A video file that the browser plays. */
class FilePlayer {
  constructor(stage, url, callbacks) {
    this.playing = false;
    this.hasSound = true;
    this.callbacks = callbacks;
    const video = document.createElement("video");
    this.video = video;
    video.src = url;
    video.playsInline = true;
    video.preload = "auto";
    video.onloadedmetadata = () => callbacks.length();
    video.onerror = () => callbacks.failed("unplayable");
    stage.replaceChildren(video);
  }

  get time() {
    return this.video.currentTime;
  }

  get duration() {
    return Number.isFinite(this.video.duration) ? this.video.duration : 0;
  }

  get ready() {
    return this.video.readyState >= HTMLMediaElement.HAVE_METADATA;
  }

  get busy() {
    return this.video.seeking || this.video.readyState < HTMLMediaElement.HAVE_CURRENT_DATA;
  }

  play() {
    this.playing = true;
    this.video.play().catch((error) => {
      if (error.name !== "NotAllowedError" || this.video.muted) return;
      this.video.muted = true;
      this.callbacks.muted();
      this.play();
    });
  }

  pause() {
    this.playing = false;
    this.video.pause();
  }

  seek(seconds) {
    this.video.currentTime = seconds;
  }

  setRate(rate) {
    if (this.video.playbackRate !== rate) this.video.playbackRate = rate;
  }

  setVolume(level) {
    this.video.volume = level;
    this.video.muted = level === 0;
  }

  destroy() {
    this.video.onerror = null;
    this.video.removeAttribute("src");
    this.video.load();
    this.video.remove();
  }
}
