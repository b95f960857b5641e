/**
 * Players, all with the same face: `time`, `duration` (seconds, 0 if not known) and `playing`; `busy` while they can't be
 * steered; `play()`, `pause()`, `seek(seconds)`, `setRate(rate)`, `unmute()`, `destroy()`.
 *
 * They tell `told.length()` when the duration is known, `told.muted()` when the browser allows no sound without a click,
 * `told.failed()` when they can't show the video, and `told.unreachable()` when YouTube is not there at all.
 */

import { drawFilm } from "./film.js";

const DRAWN_LENGTH = 600; // seconds
const YOUTUBE_API = "https://www.youtube.com/iframe_api";
const PATIENCE = 6000; // ms

/** Put a player for the video into an element; a drawn one where nothing else can show it. */
export async function openPlayer(stage, video, told) {
  if (video.videoType === "file") return new FilePlayer(stage, video.videoUrl, told);
  const id = video.videoType === "youtube" && youTubeId(video.videoUrl);
  if (id) {
    try {
      return new YouTubePlayer(stage, id, await youTube(), told);
    } catch {
      told.unreachable();
    }
  }
  return new DrawnPlayer(stage, video.videoState.duration || DRAWN_LENGTH);
}

/** A film that the page draws: it needs no network, and each moment of it looks the same everywhere. */
export class DrawnPlayer {
  #at = 0;
  #since = 0;
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
    const passed = this.playing ? ((performance.now() - this.#since) / 1000) * this.#rate : 0;
    return Math.min(this.duration, this.#at + passed);
  }

  #from(time) {
    this.#at = Math.max(0, time);
    this.#since = performance.now();
  }

  play() {
    this.#from(this.time);
    this.playing = true;
  }

  pause() {
    this.#from(this.time);
    this.playing = false;
  }

  seek(seconds) {
    this.#from(seconds);
  }

  setRate(rate) {
    if (rate === this.#rate) return;
    this.#from(this.time);
    this.#rate = rate;
  }

  unmute() {}

  destroy() {
    cancelAnimationFrame(this.frame);
    this.canvas.remove();
  }
}

/** A video file, played by the browser. */
class FilePlayer {
  constructor(stage, url, told) {
    this.playing = false;
    this.told = told;
    const video = document.createElement("video");
    this.video = video;
    video.src = url;
    video.playsInline = true;
    video.preload = "auto";
    video.onloadedmetadata = () => told.length();
    video.onerror = () => told.failed();
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
      this.told.muted();
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

/** YouTube's own player, by its IFrame API. */
class YouTubePlayer {
  #rate = 1;
  #ready = false;
  #wanted = false;
  #settled = 0;

  constructor(stage, videoId, YT, told) {
    this.YT = YT;
    this.told = told;
    const place = document.createElement("div");
    stage.replaceChildren(place);
    this.player = new YT.Player(place, {
      width: "100%",
      height: "100%",
      videoId,
      playerVars: { controls: 0, disablekb: 1, playsinline: 1, rel: 0, origin: location.origin },
      events: {
        onReady: () => {
          this.#ready = true;
          told.length();
        },
        onError: () => told.failed(), // removed, private, or not to be shown on other sites
        onStateChange: () => told.length(),
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
    if (!this.#ready || performance.now() < this.#settled) return true;
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
      this.told.muted();
      this.player.playVideo();
    }, PATIENCE / 2);
  }

  pause() {
    this.#wanted = false;
    if (this.#ready) this.player.pauseVideo();
  }

  seek(seconds) {
    this.player.seekTo(seconds, true);
    this.#settled = performance.now() + 700; // until then it tells the old time
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

/** Return the id of the video that a link to YouTube leads to, or null. */
export function youTubeId(url) {
  let parts;
  try {
    parts = new URL(url);
  } catch {
    return null; // the server's parser takes more for a link than a browser does
  }
  const { hostname, pathname, searchParams } = parts;
  const [, first, second] = pathname.split("/");
  const named = ["embed", "shorts", "live", "v"].includes(first) ? second : searchParams.get("v");
  const id = hostname.endsWith("youtu.be") ? first : named;
  return /^[\w-]{11}$/.test(id ?? "") ? id : null;
}

let loading = null;

/** Load YouTube's API once; fails where it can't be reached. */
function youTube() {
  loading ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    const fail = () => {
      loading = null;
      script.remove();
      reject(new Error("YouTube can't be reached"));
    };
    script.src = YOUTUBE_API;
    script.onerror = fail;
    const timer = setTimeout(fail, PATIENCE);
    window.onYouTubeIframeAPIReady = () => {
      clearTimeout(timer);
      resolve(window.YT);
    };
    document.head.append(script);
  });
  return loading;
}
