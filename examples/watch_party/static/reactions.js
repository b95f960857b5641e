/** Reactions to messages, and the menu with which guests react to a message or delete it if they wrote it. */

import { element } from "./dom.js";

const MENU_HEIGHT = 64; // pixels that the menu needs above a message

/** The menu of one message at a time. It is outside the log, so that screen readers do not announce it as a message. */
export class MessageMenu {
  #message = null;
  #you = "";
  #buttons = new Map(); // emoji -> its button
  #remove = element("button", "quiet", "Delete");

  /**
   * @param {HTMLElement} menu - the popover.
   * @param {HTMLElement} log - the scrolling element of the messages.
   * @param {object} handlers - `react(id, emoji, on)` adds or withdraws a reaction, and `remove(id)` deletes a message.
   */
  constructor(menu, log, handlers) {
    this.menu = menu;
    this.handlers = handlers;
    this.#remove.type = "button";
    this.#remove.addEventListener("click", () => this.#choose(() => handlers.remove(this.#message.id)));
    const hide = () => this.#isOpen && menu.hidePopover();
    log.addEventListener("scroll", hide);
    addEventListener("resize", hide);
  }

  get #isOpen() {
    return this.menu.matches(":popover-open");
  }

  /** Offer these reactions, an object of emojis and their names, to a user. */
  offer(reactions, you) {
    this.reactions = reactions;
    this.#you = you;
    this.#buttons.clear();
    for (const [emoji, name] of Object.entries(reactions)) {
      const button = element("button", "emoji glyph", emoji);
      button.type = "button";
      button.setAttribute("aria-label", name);
      button.autofocus = !this.#buttons.size; // the popover focuses the first button
      button.addEventListener("click", () => {
        const on = !usersOf(this.#message, emoji).includes(you);
        this.#choose(() => this.handlers.react(this.#message.id, emoji, on));
      });
      this.#buttons.set(emoji, button);
    }
    this.menu.replaceChildren(...this.#buttons.values(), this.#remove);
  }

  /** Return the button that opens the menu of a message. `current` returns the message as it is now. */
  button(current) {
    const own = current().userId === this.#you;
    const button = element("button", "more", "⋯");
    button.type = "button";
    button.tabIndex = -1;
    button.setAttribute("aria-label", own ? "React or delete" : "React");
    button.popoverTargetElement = this.menu;
    button.addEventListener("click", () => {
      // The menu may be open for another message. Then it moves.
      button.popoverTargetAction = this.#message?.id === current().id ? "toggle" : "show";
      this.#message = current();
      this.#remove.hidden = !own;
      for (const [emoji, choice] of this.#buttons) {
        choice.setAttribute("aria-pressed", String(usersOf(this.#message, emoji).includes(this.#you)));
      }
      this.#place(button.parentElement.getBoundingClientRect());
    });
    return button;
  }

  /** Close the menu if it belongs to a message that has disappeared. */
  closeFor(id) {
    if (this.#message?.id === id && this.#isOpen) this.menu.hidePopover();
  }

  #choose(action) {
    this.menu.hidePopover();
    action();
  }

  #place(box) {
    const below = box.top < MENU_HEIGHT;
    this.menu.classList.toggle("below", below);
    this.menu.style.setProperty("--x", `${Math.max(8, box.left)}px`);
    this.menu.style.setProperty("--y", `${below ? box.bottom : box.top}px`);
  }

  /** Return the reactions to a message as buttons, which add this user's reaction or withdraw it. */
  chips(message, nameOf) {
    const chips = element("span", "chips");
    for (const [emoji, name] of Object.entries(this.reactions)) {
      const users = usersOf(message, emoji);
      if (!users.length) continue;
      const on = users.includes(this.#you);
      const chip = element("button", "chip");
      chip.append(element("span", "glyph", emoji), ` ${users.length}`);
      chip.type = "button";
      chip.tabIndex = -1; // with the keyboard, the menu does the same
      chip.title = [name, ...users.map(nameOf).filter(Boolean)].join(", ");
      chip.setAttribute("aria-label", `${name}: ${users.length}`);
      chip.setAttribute("aria-pressed", String(on));
      chip.addEventListener("click", () => this.handlers.react(message.id, emoji, !on));
      chips.append(chip);
    }
    return chips;
  }
}

function usersOf(message, emoji) {
  return message.reactions?.[emoji] ?? [];
}

/** Make the buttons of a list one stop of the Tab key: the arrow keys move between them. */
export class RovingFocus {
  /**
   * @param {HTMLElement} list - the list.
   * @param {string} selector - matches the buttons.
   */
  constructor(list, selector) {
    this.list = list;
    this.selector = selector;
    list.addEventListener("keydown", (event) => {
      const buttons = this.#buttons;
      const at = buttons.indexOf(event.target);
      const next = { ArrowUp: at - 1, ArrowDown: at + 1, Home: 0, End: buttons.length - 1 }[event.key];
      if (at < 0 || next === undefined) return;
      event.preventDefault();
      buttons[next]?.focus();
    });
    list.addEventListener("focusin", () => this.update());
  }

  get #buttons() {
    return [...this.list.querySelectorAll(this.selector)];
  }

  /** Let Tab stop at the focused button, or at the last one. */
  update() {
    const buttons = this.#buttons;
    const stop = buttons.includes(document.activeElement) ? document.activeElement : buttons.at(-1);
    for (const button of buttons) button.tabIndex = button === stop ? 0 : -1;
  }
}
