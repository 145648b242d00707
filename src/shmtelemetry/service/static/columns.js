// Columns and figures that several tables and panels have.

import { make, say } from "./dom.js";
import { NONE, signed } from "./format.js";

/** A column of a figure that is written by a function, or of a word. */
export function column(key, title, written = null) {
  const show = written === null ? (row) => row[key] ?? NONE : (row) => written(row[key]);
  return { key, title, text: written === null, sort: (row) => row[key], show };
}

/** A column of profits: better and worse differ by colour, and by sign. */
export function profitColumn(key, title) {
  return { key, title, sort: (row) => row[key], draw: (cell, row) => sayProfit(cell, row[key]) };
}

export function sayProfit(place, profit) {
  say(place, signed(profit));
  place.classList.toggle("up", profit > 0);
  place.classList.toggle("down", profit < 0);
}

/** Large figures with titles; returns where each is written. */
export function figures(host, titles) {
  return titles.map((title) => {
    const value = make("dd");
    host.append(make("div", {}, make("dt", {}, title), value));
    return value;
  });
}
