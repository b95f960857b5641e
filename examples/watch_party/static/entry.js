/** The entry form: the name, the room code, and the errors that a guest can correct there. */

import { $, wellFormed } from "./dom.js";

// The field to correct, and what to do.
const ERRORS = {
  noRoom: ["room", "No room with this code. Check it, or ask the host for a new link."],
  noCode: ["room", "Enter a room code, or create a room."],
  badCode: ["room", "A new room code has 4 to 32 letters, digits or hyphens. Change it, or leave it empty for a random code."],
  codeTaken: ["room", "There is a room with this code already. Join it, or choose another code."],
  nameTaken: ["name", "Someone in the room already has this name. Choose another name."],
  badName: ["name", "Enter a name (up to 40 characters)."],
  tooLong: ["name", "This name is too long. Enter a shorter name."],
  tooFast: ["join", "Too many attempts. Wait a minute and try again."],
  tooSlow: ["join", "Joining took too long. Try again."],
};

export class Entry {
  /** @param {(request: { name: string, code: string, creates: boolean }) => void} submit - handles a valid form. */
  constructor(submit) {
    $("room").addEventListener("input", () => this.#markMainButton());
    $("entry-form").addEventListener("submit", (event) => {
      event.preventDefault();
      const name = wellFormed($("name").value.trim());
      const code = wellFormed($("room").value.trim().toUpperCase());
      const creates = event.submitter?.value === "create";
      if (!name) this.reject("badName");
      else if (!creates && !code) this.reject("noCode");
      else {
        this.#clearError();
        submit({ name, code, creates });
      }
    });
  }

  /** Fill in the form. */
  fill(name, code) {
    $("name").value = name;
    $("room").value = code;
    this.#clearError();
    this.#markMainButton();
  }

  /** Show why the guest could not enter, and focus the field to correct. */
  reject(reason) {
    this.#clearError();
    const [id, text] = ERRORS[reason] ?? ["join", "Joining failed. Try again."];
    if (id !== "join") $(id).setAttribute("aria-invalid", "true");
    $("entry-error").textContent = text;
    $(id).focus();
    if (id !== "join") $(id).select();
  }

  #clearError() {
    $("entry-error").textContent = "";
    for (const id of ["name", "room"]) $(id).removeAttribute("aria-invalid");
  }

  #markMainButton() {
    const joins = Boolean($("room").value.trim());
    $("join").classList.toggle("quiet", !joins);
    $("create").classList.toggle("quiet", joins);
  }
}
