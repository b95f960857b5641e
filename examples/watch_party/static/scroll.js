/** A scrolling list that stays at its end, unless the user scrolls up. */

const NEAR = 40; // pixels from the end that still count as the end

export class ScrollToEnd {
  #atEnd = true;
  #lastTop = 0;
  #lastSizes = "";

  /**
   * @param {HTMLElement} view - the scrolling element.
   * @param {HTMLElement} content - the content of the view.
   */
  constructor(view, content) {
    this.view = view;
    view.addEventListener("scroll", () => {
      // A change of the sizes also moves the view. The observer is called after this listener and handles it.
      if (this.#distance < NEAR) this.#atEnd = true;
      else if (view.scrollTop < this.#lastTop && this.#sizes === this.#lastSizes) this.#atEnd = false;
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
    this.view.scrollTop = this.view.scrollHeight;
    this.#remember();
  }
}
