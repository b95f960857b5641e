/**
 * Players with a common interface: `time` and `duration` (seconds, 0 if unknown), `playing`, `busy` (true while the player
 * cannot be controlled), `play()`, `pause()`, `seek(seconds)`, `setRate(rate)`, `unmute()` and `destroy()`.
 *
 * Callbacks: `length()` when the duration is known, `muted()` when the browser blocks sound without a click, `failed()`
 * when the video cannot be played, and `unreachable()` when YouTube cannot be reached.
 */

import { drawFilm } from "./film.js";

const DRAWN_LENGTH = 600; // seconds
const YOUTUBE_API = "https://www.youtube.com/iframe_api";
const LOAD_TIMEOUT = 6000; // ms

/** Open a player for the video in an element. Falls back to the drawn film. */
export async function openPlayer(stage, video, callbacks) {
  if (video.videoType === "file") return new FilePlayer(stage, video.videoUrl, callbacks);
  const id = video.videoType === "youtube" && youTubeId(video.videoUrl);
  if (id) {
    try {
      return new YouTubePlayer(stage, id, await youTube(), callbacks);
    } catch {
      callbacks.unreachable();
    }
  }
  return new DrawnPlayer(stage, video.videoState.duration || DRAWN_LENGTH);
}

/** A film that the page draws without a network. It looks the same on every page. */
export class DrawnPlayer {
  #start = 0;
  #startedAt = 0;
  #rate = 1;

  constructor(stage, duration) {
    this.duration = duration;
    this.playing = false;
    this.busy = false;
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

  unmute() {}

  destroy() {
    cancelAnimationFrame(this.frame);
    this.canvas.remove();
  }
}

/** A video file that the browser plays. */
class FilePlayer {
  constructor(stage, url, callbacks) {
    this.playing = false;
    this.callbacks = callbacks;
    const video = document.createElement("video");
    this.video = video;
    video.src = url;
    video.playsInline = true;
    video.preload = "auto";
    video.onloadedmetadata = () => callbacks.length();
    video.onerror = () => callbacks.failed();
    stage.replaceChildren(video);
  }

  get time() {
    return this.video.currentTime;
  }

  get duration() {
    return Number.isFinite(this.video.duration) ? this.video.duration : 0;
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

  unmute() {
    this.video.muted = false;
  }

  destroy() {
    this.video.onerror = null;
    this.video.removeAttribute("src");
    this.video.load();
    this.video.remove();
  }
}

/** YouTube's embedded player, controlled through the IFrame API. */
class YouTubePlayer {
  #rate = 1;
  #ready = false;
  #wanted = false;
  #seekDoneAt = 0;

  constructor(stage, videoId, YT, callbacks) {
    this.YT = YT;
    this.callbacks = callbacks;
    const target = document.createElement("div");
    stage.replaceChildren(target);
    this.player = new YT.Player(target, {
      width: "100%",
      height: "100%",
      videoId,
      playerVars: { controls: 0, disablekb: 1, playsinline: 1, rel: 0, origin: location.origin },
      events: {
        onReady: () => {
          this.#ready = true;
          callbacks.length();
        },
        onError: () => callbacks.failed(), // removed, private, or not allowed on other sites
        onStateChange: () => callbacks.length(),
      },
    });
  }

  get time() {
    return this.#ready ? this.player.getCurrentTime() : 0;
  }

  get duration() {
    return this.#ready ? this.player.getDuration() : 0;
  }

  get playing() {
    return this.#wanted;
  }

  get busy() {
    if (!this.#ready || performance.now() < this.#seekDoneAt) return true;
    const state = this.player.getPlayerState();
    const { PLAYING, PAUSED, CUED, ENDED } = this.YT.PlayerState;
    if (this.#wanted && (state === PAUSED || state === CUED)) this.player.playVideo();
    return this.#wanted ? state !== PLAYING : ![PLAYING, PAUSED, CUED, ENDED].includes(state);
  }

  play() {
    if (!this.#ready) return;
    this.#wanted = true;
    this.player.playVideo();
    this.timer = setTimeout(() => {
      if (!this.#wanted || this.player.getPlayerState() === this.YT.PlayerState.PLAYING) return;
      this.player.mute();
      this.callbacks.muted();
      this.player.playVideo();
    }, LOAD_TIMEOUT / 2);
  }

  pause() {
    this.#wanted = false;
    if (this.#ready) this.player.pauseVideo();
  }

  seek(seconds) {
    this.player.seekTo(seconds, true);
    this.#seekDoneAt = performance.now() + 700; // until then the player reports the old time
  }

  setRate(rate) {
    if (rate === this.#rate) return;
    this.#rate = rate;
    this.player.setPlaybackRate(rate);
  }

  unmute() {
    this.player.unMute();
  }

  destroy() {
    clearTimeout(this.timer);
    this.player.destroy();
  }
}

/** Return the video id of a YouTube link, or null. */
export function youTubeId(url) {
  let parts;
  try {
    parts = new URL(url);
  } catch {
    return null; // Python's urlsplit accepts links that the browser's URL parser rejects
  }
  const { hostname, pathname, searchParams } = parts;
  const [, first, second] = pathname.split("/");
  const named = ["embed", "shorts", "live", "v"].includes(first) ? second : searchParams.get("v");
  const id = hostname.endsWith("youtu.be") ? first : named;
  return /^[\w-]{11}$/.test(id ?? "") ? id : null;
}

let loading = null;

/** Load YouTube's API once. Rejects if it cannot be reached. */
function youTube() {
  loading ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    const fail = () => {
      loading = null;
      script.remove();
      reject(new Error("YouTube cannot be reached"));
    };
    script.src = YOUTUBE_API;
    script.onerror = fail;
    const timer = setTimeout(fail, LOAD_TIMEOUT);
    window.onYouTubeIframeAPIReady = () => {
      clearTimeout(timer);
      resolve(window.YT);
    };
    document.head.append(script);
  });
  return loading;
}
