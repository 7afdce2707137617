// A list of any length, of which only what is in sight is in the document.

import { Component, html } from "./vendor/preact-htm.js";

const BEYOND = 6;
// Rows above and below what is in sight.

/**
 * Rows of one height. Its properties: `items`, `height` of a row in pixels, `row(item, index)`,
 * `label`, `role` of the whole, `onRange(first, end)` once it rests, and `at`: an index that must be
 * in sight.
 */
export class Virtual extends Component {
  state = { first: 0, end: 40, pool: 40 };

  attach = (element) => {
    this.element = element;
  };

  componentDidMount() {
    this.watch = new ResizeObserver(this.scrolled);
    this.watch.observe(this.element);
    this.element.scrollTop = this.props.start ?? 0;
    this.look();
    this.reveal();
  }

  componentWillUnmount() {
    this.watch.disconnect();
    cancelAnimationFrame(this.frame);
    clearTimeout(this.rest);
    this.props.onLeave?.(this.element.scrollTop);
  }

  componentDidUpdate(before) {
    if (before.at !== this.props.at) this.reveal();
    if (before.items !== this.props.items || before.height !== this.props.height) this.look();
  }

  scrolled = () => {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = undefined;
      this.look();
    });
  };

  look() {
    const { height, items } = this.props;
    const { scrollTop, clientHeight } = this.element;
    const first = Math.max(0, Math.floor(scrollTop / height) - BEYOND);
    const end = Math.min(items.length, Math.ceil((scrollTop + clientHeight) / height) + BEYOND);
    // As many as are ever in the document: a row that comes into sight takes the element of one that
    // has left it, which is cheaper than an element of its own.
    const pool = Math.ceil(clientHeight / height) + 1 + 2 * BEYOND;
    if (first !== this.state.first || end !== this.state.end || pool !== this.state.pool) this.setState({ first, end, pool });
    clearTimeout(this.rest);
    this.rest = setTimeout(() => this.props.onRange?.(first, end), 120);
  }

  reveal() {
    const { at, height } = this.props;
    if (at === undefined || at < 0) return;
    const { scrollTop, clientHeight } = this.element;
    const top = at * height;
    if (top < scrollTop) this.element.scrollTop = top;
    else if (top + height > scrollTop + clientHeight) this.element.scrollTop = top + height - clientHeight;
    this.look();
  }

  render({ items, height, row, label, role = "list", onKeyDown, active }, { first, end, pool }) {
    const within = items.slice(first, end);
    return html`
      <div class="virtual" ref=${this.attach} onScroll=${this.scrolled} tabindex="0" role=${role}
        aria-label=${label} aria-activedescendant=${active} onKeyDown=${onKeyDown}>
        <div class="virtual-all" role="presentation" style=${{ height: `${items.length * height}px` }}>
          ${within.map((item, at) => html`
            <div key=${(first + at) % pool} class="virtual-row" role="presentation"
              style=${{ transform: `translateY(${(first + at) * height}px)`, height: `${height}px` }}>
              ${row(item, first + at)}
            </div>`)}
        </div>
      </div>`;
  }
}
