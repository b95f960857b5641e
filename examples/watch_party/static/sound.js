/** The volume of the video on this page, which also applies to the next videos. */

import { $ } from "./dom.js";

const STORED = "party:volume";

export class Sound {
  #player = null;
  #muted = false;
  #blocked = false; // the browser plays no sound before a click

  constructor() {
    const stored = Number(localStorage.getItem(STORED) ?? 100);
    $("volume").value = String(stored >= 0 && stored <= 100 ? stored : 100);
    $("volume").addEventListener("input", () => {
      localStorage.setItem(STORED, $("volume").value);
      this.#setMuted(false);
    });
    $("mute").addEventListener("click", () => {
      const silent = this.#silent;
      if (!this.#level) $("volume").value = "50"; // otherwise the button could not turn the sound on
      this.#setMuted(!silent);
    });
    $("sound").addEventListener("click", () => {
      this.#setMuted(false);
      $("mute").focus();
    });
  }

  get #level() {
    return Number($("volume").value) / 100;
  }

  get #silent() {
    return this.#muted || this.#blocked || !this.#level;
  }

  /** Control a player, or none. */
  control(player) {
    this.#player = player;
    $("volume-controls").hidden = !player?.hasSound;
    this.#setMuted(this.#muted);
  }

  /** The browser plays the video without sound until the user turns it on. */
  block() {
    this.#blocked = true;
    $("sound").hidden = false;
    this.#show();
  }

  #setMuted(muted) {
    this.#muted = muted;
    this.#blocked = false;
    $("sound").hidden = true;
    this.#player?.setVolume(this.#silent ? 0 : this.#level);
    this.#show();
  }

  #show() {
    $("mute").setAttribute("aria-pressed", String(this.#silent));
    $("volume").style.setProperty("--part", `${this.#silent ? 0 : 100 * this.#level}%`);
  }
}
