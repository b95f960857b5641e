/** A scrolling list that stays at its end, unless the user scrolls up. */

const NEAR = 40; // pixels from the end that still count as the end

export class ScrollToEnd {
  #atEnd = true;
  #pulledUp = false; // by the user, since the view was last moved to the end
  #lastTop = 0;
  #lastSizes = "";

  /**
   * @param {HTMLElement} view - the scrolling element.
   * @param {HTMLElement} content - the content of the view.
   */
  constructor(view, content) {
    this.view = view;
    const pull = (event) => {
      if (!(event.deltaY > 0)) this.#pulledUp = true;
    };
    for (const type of ["wheel", "touchmove", "pointerdown", "keydown"]) {
      view.addEventListener(type, pull, { passive: true });
    }
    view.addEventListener("scroll", () => {
      // A change of the sizes also moves the view. The observer is called after this listener and handles it. Without
      // input, for example during a search in the page, only a scroll without such a change is the user's.
      const isUnchanged = this.#sizes === this.#lastSizes;
      if (this.#distance < NEAR) this.#atEnd = true;
      else if (this.#pulledUp || (view.scrollTop < this.#lastTop && isUnchanged)) this.#atEnd = false;
      this.#remember();
    });
    const observer = new ResizeObserver(() => this.follow());
    observer.observe(view);
    observer.observe(content);
  }

  get #distance() {
    return this.view.scrollHeight - this.view.scrollTop - this.view.clientHeight;
  }

  get #sizes() {
    return `${this.view.scrollHeight} ${this.view.clientHeight}`;
  }

  #remember() {
    this.#lastTop = this.view.scrollTop;
    this.#lastSizes = this.#sizes;
  }

  /** Scroll to the end if the view was there before its content or its size changed. */
  follow() {
    if (this.#atEnd) this.toEnd();
  }

  /** Scroll to the end. */
  toEnd() {
    this.#atEnd = true;
    this.#pulledUp = false;
    this.view.scrollTop = this.view.scrollHeight;
    this.#remember();
  }
}
