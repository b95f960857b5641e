/** The list of the people in the room. A long list is cut, with a button that shows all of it. */

import { $, element, hueOf } from "./dom.js";

const FEW = 6; // people who are shown unless the user wants to see all

export class People {
  #room = null;
  #you = "";
  #all = false;

  constructor() {
    $("all-people").addEventListener("click", () => {
      this.#all = !this.#all;
      this.#render();
    });
  }

  /** Show the users of a room. `you` is the id of this user. */
  show(room, you) {
    this.#room = room;
    this.#you = you;
    this.#render();
  }

  #render() {
    const { users } = this.#room;
    const more = users.length > FEW;
    $("count").textContent = users.length;
    $("people").replaceChildren(...(this.#all ? users : this.#few(users)).map((user) => this.#person(user)));
    $("all-people").hidden = !more;
    $("all-people").textContent = this.#all ? "Show fewer" : `Show all ${users.length}`;
    $("all-people").setAttribute("aria-expanded", String(this.#all && more));
  }

  /** Return the first users, and always this user. */
  #few(users) {
    const few = users.slice(0, FEW);
    const own = users.find((user) => user.id === this.#you);
    return !own || few.includes(own) ? few : [...few.slice(0, -1), own];
  }

  #person(user) {
    const host = user.id === this.#room.hostId;
    const line = element("li", host ? "host" : "");
    line.dataset.id = user.id;
    const face = element("span", "face", [...user.name][0].toUpperCase());
    face.setAttribute("aria-hidden", "true");
    face.style.setProperty("--hue", hueOf(user.id));
    line.append(face, element("span", "name", user.name));
    if (user.id === this.#you) line.append(element("span", "tag", "you"));
    if (host) line.append(element("span", "tag gold", "host"));
    return line;
  }
}
