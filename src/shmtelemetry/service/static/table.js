// Tables that are sorted by their headers, and change only where something has changed.

import { make, say } from "./dom.js";

/**
 * columns: {key, title, text, sort, from, show, draw}: show(row) → text, or draw(cell, row); sort(row) → what it is
 * sorted by, no button without it; `text` aligns to the left; `from`: "medium", "large" or "wide" is the room that a
 * column needs to be shown; the first column heads its rows. by: [key, direction], -1 for descending. keyOf(row): what
 * stays the same of a row. turned(by) is called when another order is wanted, where rows come in order already.
 */
export class Table {
  #table;
  #columns;
  #by;
  #keyOf;
  #rows = [];
  #shown = new Map();
  #body = make("tbody");
  #empty;
  #mark;
  #turned;

  constructor(table, { caption, columns, by = null, keyOf, empty, mark = () => false, turned = null }) {
    [this.#table, this.#columns, this.#by, this.#keyOf, this.#mark] = [table, columns, by, keyOf, mark];
    this.#turned = turned;
    this.#empty = make("td", { colspan: columns.length, class: "empty" }, empty);
    table.append(make("caption", { class: "hidden" }, caption), this.#head(), this.#body);
    this.show([]);
  }

  /** Other columns, of which one says the order. */
  change(columns, by) {
    [this.#columns, this.#by] = [columns, by];
    this.#empty.colSpan = columns.length;
    this.#shown.clear();
    this.#body.replaceChildren();
    this.#table.tHead.replaceWith(this.#head());
    this.show([]);
  }

  show(rows) {
    this.#rows = rows;
    const sorted = this.#sorted(rows);
    const keys = new Set();
    sorted.forEach((row, at) => {
      const key = this.#keyOf(row);
      keys.add(key);
      const line = this.#shown.get(key) ?? this.#add(key);
      this.#fill(line, row);
      if (this.#body.rows[at] !== line) this.#body.insertBefore(line, this.#body.rows[at] ?? null);
    });
    for (const [key, line] of this.#shown) {
      if (keys.has(key)) continue;
      line.remove();
      this.#shown.delete(key);
    }
    if (rows.length) this.#empty.parentElement?.remove();
    else if (!this.#empty.isConnected) this.#body.append(make("tr", {}, this.#empty));
  }

  #add(key) {
    const cells = this.#columns.map((column, at) =>
      make(at ? "td" : "th", { class: classOf(column), scope: at ? null : "row" }),
    );
    const line = make("tr", {}, ...cells);
    this.#shown.set(key, line);
    return line;
  }

  #fill(line, row) {
    line.classList.toggle("chosen", this.#mark(row));
    this.#columns.forEach(({ show, draw }, at) => (draw ? draw(line.cells[at], row) : say(line.cells[at], show(row))));
  }

  #sorted(rows) {
    const column = this.#by && this.#columns.find(({ key }) => key === this.#by[0]);
    if (!column || this.#turned !== null) return rows;
    const direction = this.#by[1];
    const lacks = (value) => value === null || value === undefined;
    return rows.toSorted((one, other) => {
      const [a, b] = [column.sort(one), column.sort(other)];
      if (lacks(a) || lacks(b)) return lacks(a) - lacks(b); // what is not known comes last, either way
      return direction * (typeof a === "string" ? a.localeCompare(b, "en", { numeric: true }) : a - b);
    });
  }

  #head() {
    const cells = this.#columns.map((column) => {
      const of = { scope: "col", class: classOf(column) };
      if (!column.sort) return make("th", of, column.title);
      const [key, direction] = this.#by ?? [];
      if (key === column.key) of["aria-sort"] = direction < 0 ? "descending" : "ascending";
      return make(
        "th",
        of,
        make("button", { onclick: () => this.#turn(column), "data-sort": column.key }, column.title),
      );
    });
    return make("thead", {}, make("tr", {}, ...cells));
  }

  #turn({ key, text }) {
    const [before, direction] = this.#by ?? [];
    this.#by = [key, before === key ? -direction : text ? 1 : -1];
    this.#table.tHead.replaceWith(this.#head());
    this.#table.tHead.querySelector(`[data-sort="${key}"]`).focus();
    if (this.#turned === null) this.show(this.#rows);
    else this.#turned(this.#by);
  }
}

const classOf = ({ text, from }) => [text && "text", from && `from-${from}`].filter(Boolean).join(" ") || null;
