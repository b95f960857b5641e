/** The video on the page: its synchronized player and the host's controls. */

import { $, element, setText } from "./dom.js";
import { FullScreen } from "./fullscreen.js";
import { openPlayer } from "./players.js";
import { Sound } from "./sound.js";
import { clockTime, hasEnded, spokenTime, steer } from "./sync.js";

const TICK = 250; // ms between two checks of the player
const FALLBACK = "A drawn film is shown instead, in sync with the others.";
const FAILURES = {
  unplayable: `This video cannot be played here. ${FALLBACK}`,
  unreachable: `YouTube cannot be reached. ${FALLBACK}`,
};

export class Video {
  #room = null;
  #host = false;
  #current = ""; // the video of the player
  #player = null;
  #sound = new Sound();
  #fullScreen = new FullScreen();
  #notice = ""; // the notice about this video
  #dragging = false;

  /**
   * @param {import("./sync.js").ServerClock} clock - the clock of the room's video state.
   * @param {(message: object) => boolean} send - sends the host's requests and returns whether there is a connection.
   */
  constructor(clock, send) {
    this.clock = clock;
    this.send = send;
    setInterval(() => this.#tick(false), TICK);
    $("play").addEventListener("click", () => {
      const state = this.#room.videoState;
      this.#change(hasEnded(state, clock.now()) ? { playing: true, position: 0 } : { playing: !state.isPlaying });
    });
    $("seek").addEventListener("input", () => {
      this.#dragging = true;
      this.#showTime(Number($("seek").value));
    });
    $("seek").addEventListener("change", () => {
      this.#dragging = false;
      this.#change({ position: Number($("seek").value) });
    });
    $("video-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#request({ type: "watch", url: $("video-url").value.trim() });
    });
    $("test-film").addEventListener("click", () => this.#request({ type: "watch", url: "film:sunrise" }));
    $("retry").addEventListener("click", () => {
      $("party-title").focus(); // the button disappears
      this.#open(this.#room, "");
    });
  }

  /** Seconds. */
  get position() {
    return this.#player?.time ?? 0;
  }

  /** Show the room's video. */
  show(room, host) {
    this.#room = room;
    this.#host = host;
    $("video-form").hidden = !host;
    const video = JSON.stringify([room.videoUrl, room.videoType]);
    if (video !== this.#current) {
      this.#current = video;
      this.#open(room, "");
    } else if (!this.#player && !room.videoUrl) {
      this.#showNothing();
    }
    this.#reportDuration();
    this.#tick(true);
  }

  /** The room has a new video, so the link to it is no longer needed in the form. */
  chosen() {
    $("video-url").value = "";
  }

  /** Show a notice below the video. */
  showNotice(text) {
    $("notice").textContent = text;
  }

  /** Remove the player. */
  close() {
    this.#remove();
    this.#current = "";
    this.#room = null;
    this.#dragging = false;
    this.chosen();
    this.#fullScreen.exit();
  }

  #remove() {
    this.#player?.destroy();
    this.#player = null;
    this.#sound.control(null);
  }

  async #open(video, failure) {
    const current = this.#current;
    this.#remove();
    this.#setNotice(FAILURES[failure] ?? "");
    $("retry").hidden = !failure;
    if (!video.videoUrl) return this.#showNothing();
    $("stage").replaceChildren();
    const player = await openPlayer($("stage"), video, {
      length: () => this.#reportDuration(),
      muted: () => this.#sound.block(),
      failed: (reason) => this.#current === current && this.#open({ ...video, videoType: "film" }, reason),
    });
    if (!player) return undefined;
    if (this.#current !== current || this.#player) return player.destroy(); // the room's video changed while opening
    this.#player = player;
    this.#sound.control(player);
    this.#reportDuration();
    return this.#tick(true);
  }

  #showNothing() {
    $("stage").replaceChildren(
      element("p", "empty", this.#host ? "Choose a video below." : "The host has not chosen a video yet."),
    );
  }

  /** Send the duration of the video, which the host's player determines. */
  #reportDuration() {
    if (this.#player?.duration && this.#host && !this.#room.videoState.duration) this.#change({});
  }

  /** Request changes of the playback. The server keeps the fields that are omitted. */
  #change(changes) {
    this.#request({ type: "play", duration: this.#player.duration || null, ...changes });
  }

  #request(message) {
    this.showNotice(this.send(message) ? this.#notice : "No connection. Try again in a moment.");
  }

  #setNotice(text) {
    this.#notice = text;
    this.showNotice(text);
  }

  /** Synchronize the player with the room, and update the controls. `fresh` means that the room has changed. */
  #tick(fresh) {
    if (!this.#room) return;
    const [state, now] = [this.#room.videoState, this.clock.now()];
    if (this.#player) steer(this.#player, state, now, fresh);
    const ended = hasEnded(state, now);
    $("loading").hidden = !this.#room.videoUrl || Boolean(this.#player?.ready);
    $("play").hidden = !this.#host;
    $("play").disabled = $("seek").disabled = !this.#player || !this.#host;
    setText($("play"), ended ? "Play again" : state.isPlaying ? "Pause" : "Play");
    $("playing").hidden = this.#host;
    setText($("playing"), `${ended ? "Ended" : state.isPlaying ? "Playing" : "Paused"} · ${this.#room.hostName} controls`);
    if (!this.#dragging) this.#showTime(this.position);
  }

  #showTime(time) {
    const length = this.#player?.duration || this.#room.videoState.duration;
    setText($("time"), `${clockTime(time)} / ${clockTime(length)}`);
    const seek = $("seek");
    seek.max = String(Math.max(1, Math.floor(length)));
    seek.value = String(Math.floor(time));
    seek.style.setProperty("--part", `${length ? (100 * time) / length : 0}%`);
    seek.setAttribute("aria-valuetext", `${spokenTime(time)} of ${spokenTime(length)}`);
  }
}
