/** The button that shows the video in full screen. */

import { $ } from "./dom.js";

export class FullScreen {
  constructor() {
    const button = $("full-screen");
    button.hidden = !document.fullscreenEnabled; // on iPhones, pages cannot use the full screen
    button.addEventListener("click", () => {
      if (document.fullscreenElement) this.exit();
      // The whole page, with only the video shown by the style sheet, so that notices about the connection stay visible.
      else document.documentElement.requestFullscreen().catch(() => {}); // the browser may refuse
    });
    document.addEventListener("fullscreenchange", () => {
      button.setAttribute("aria-pressed", String(Boolean(document.fullscreenElement)));
    });
  }

  /** Leave the full screen, if the page is in it. */
  exit() {
    if (document.fullscreenElement) document.exitFullscreen().catch(() => {});
  }
}
