/** The video of a room on the page: its player, kept in step, and the host's controls. */

import { element } from "./chat.js";
import { openPlayer } from "./players.js";
import { clockTime, hasEnded, spokenTime, steer } from "./sync.js";

const TICK = 250; // ms between two looks at the player
const STANDS_IN = "This video can't be shown here. A drawn film stands in, in step with the others.";

const $ = (id) => document.getElementById(id);

export class Video {
  #room = null;
  #host = false;
  #opened = ""; // the video that the player is for
  #player = null;
  #usual = ""; // what is to be said about this video as long as it is shown
  #dragging = false;

  /**
   * @param {import("./sync.js").ServerClock} clock - tells the time by which a room's video state is to be read.
   * @param {(message: object) => boolean} send - sends the host's wishes; tells whether there is a connection.
   */
  constructor(clock, send) {
    this.clock = clock;
    this.send = send;
    setInterval(() => this.#tick(false), TICK);
    $("play").addEventListener("click", () => {
      const state = this.#room.videoState;
      this.#wish(hasEnded(state, clock.now()) ? { playing: true, position: 0 } : { playing: !state.isPlaying });
    });
    $("seek").addEventListener("input", () => {
      this.#dragging = true;
      this.#showTime(Number($("seek").value));
    });
    $("seek").addEventListener("change", () => {
      this.#dragging = false;
      this.#wish({ position: Number($("seek").value) });
    });
    $("sound").addEventListener("click", () => {
      this.#player?.unmute();
      $("sound").hidden = true;
    });
    $("video-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#ask({ type: "watch", url: $("video-url").value.trim() });
      $("video-url").value = "";
    });
    $("test-film").addEventListener("click", () => this.#ask({ type: "watch", url: "film:sunrise" }));
  }

  /** Seconds. */
  get position() {
    return this.#player?.time ?? 0;
  }

  /** Show what the room watches. */
  show(room, host) {
    this.#room = room;
    this.#host = host;
    $("video-form").hidden = !host;
    const video = JSON.stringify([room.videoUrl, room.videoType]);
    if (video !== this.#opened) {
      this.#opened = video;
      this.#open(room, "");
    } else if (!this.#player && !room.videoUrl) {
      this.#showNothing();
    }
    this.#tellLength();
    this.#tick(true);
  }

  /** Say something about the video. */
  notice(text) {
    $("notice").textContent = text;
  }

  /** Show nothing any more. */
  close() {
    this.#player?.destroy();
    this.#player = null;
    this.#opened = "";
    this.#room = null;
    this.#dragging = false;
  }

  async #open(video, text) {
    const opened = this.#opened;
    this.#player?.destroy();
    this.#player = null;
    this.#says(text);
    $("sound").hidden = true;
    if (!video.videoUrl) return this.#showNothing();
    const player = await openPlayer($("stage"), video, {
      length: () => this.#tellLength(),
      muted: () => ($("sound").hidden = false),
      unreachable: () => this.#says(STANDS_IN),
      failed: () => this.#opened === opened && this.#open({ ...video, videoType: "film" }, STANDS_IN),
    });
    if (this.#opened !== opened || this.#player) return player.destroy(); // another one was chosen meanwhile
    this.#player = player;
    this.#tellLength();
    return this.#tick(true);
  }

  #showNothing() {
    $("stage").replaceChildren(
      element("p", "empty", this.#host ? "Choose a video below." : "The host has not chosen a video yet."),
    );
  }

  /** The host's player is the one that says how long the video is. */
  #tellLength() {
    if (this.#player?.duration && this.#host && !this.#room.videoState.duration) this.#wish({});
  }

  /** Wish for what is to change: the rest goes on as it is at the server, which may know better than this page. */
  #wish(changes) {
    this.#ask({ type: "play", duration: this.#player.duration || null, ...changes });
  }

  #ask(message) {
    this.notice(this.send(message) ? this.#usual : "There is no connection. Try again in a moment.");
  }

  #says(text) {
    this.#usual = text;
    this.notice(text);
  }

  /** Bring the player to where the room is, and show where it is; `fresh` if the room has changed. */
  #tick(fresh) {
    if (!this.#room) return;
    const [state, now] = [this.#room.videoState, this.clock.now()];
    if (this.#player) steer(this.#player, state, now, fresh);
    const ended = hasEnded(state, now);
    $("play").hidden = !this.#host;
    $("play").disabled = $("seek").disabled = !this.#player || !this.#host;
    say($("play"), ended ? "Play again" : state.isPlaying ? "Pause" : "Play");
    $("playing").hidden = this.#host;
    say($("playing"), `${ended ? "Ended" : state.isPlaying ? "Playing" : "Paused"} · ${this.#room.hostName} controls`);
    if (!this.#dragging) this.#showTime(this.position);
  }

  #showTime(time) {
    const length = this.#player?.duration || this.#room.videoState.duration;
    say($("time"), `${clockTime(time)} / ${clockTime(length)}`);
    const seek = $("seek");
    seek.max = String(Math.max(1, Math.floor(length)));
    seek.value = String(Math.floor(time));
    seek.style.setProperty("--part", `${length ? (100 * time) / length : 0}%`);
    seek.setAttribute("aria-valuetext", `${spokenTime(time)} of ${spokenTime(length)}`);
  }
}

/** Change a text only if it is another one: each change is read out where a screen reader listens. */
function say(place, text) {
  if (place.textContent !== text) place.textContent = text;
}
