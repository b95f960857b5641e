/** YouTube's player, and the loading of its API. */

const API = "https://www.youtube.com/iframe_api";
const LOAD_TIMEOUT = 6000; // ms until the API must have been loaded
const READY_TIMEOUT = 10_000; // ms until the player must be ready
const PLAY_TIMEOUT = 3000; // ms after which the browser seems to block sound

/** YouTube's embedded player, controlled through the IFrame API. */
export class YouTubePlayer {
  #rate = 1;
  #ready = false;
  #wanted = false;
  #volume = 1;
  #seekDoneAt = 0;

  /** Throws if the URL contains no id of a video. */
  constructor(stage, url, YT, callbacks) {
    const videoId = youTubeId(url);
    this.YT = YT;
    this.hasSound = true;
    this.callbacks = callbacks;
    this.readyTimer = setTimeout(() => callbacks.failed("unreachable"), READY_TIMEOUT);
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
          clearTimeout(this.readyTimer);
          this.setVolume(this.#volume);
          callbacks.length();
        },
        onError: () => callbacks.failed("unplayable"), // removed, private, or not allowed on other sites
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

  get ready() {
    return this.#ready;
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
    }, PLAY_TIMEOUT);
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

  setVolume(level) {
    this.#volume = level;
    if (!this.#ready) return;
    if (!level) return this.player.mute();
    this.player.unMute();
    this.player.setVolume(Math.round(100 * level));
  }

  destroy() {
    clearTimeout(this.readyTimer);
    clearTimeout(this.timer);
    this.player.destroy();
  }
}

/** Return the id in the URL of a video, as the server stores it. */
function youTubeId(url) {
  const id = new URL(url).searchParams.get("v");
  if (!/^[\w-]{11}$/.test(id)) throw new Error("no id of a YouTube video");
  return id;
}

let loading = null;

/** Load YouTube's API once. Rejects if it cannot be reached. */
export function loadYouTube() {
  loading ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    const fail = () => {
      clearTimeout(timer);
      loading = null;
      script.remove();
      reject(Object.assign(new Error("YouTube cannot be reached"), { reason: "unreachable" }));
    };
    script.src = API;
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
