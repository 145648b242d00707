// Symbols: prices as the updates have them, and how they were over the time window.

import { column } from "./columns.js";
import { $, say } from "./dom.js";
import { NONE, count, fixed, price } from "./format.js";
import { Lines } from "./history.js";
import { Table } from "./table.js";
import { drawTrend } from "./trend.js";

const LAST = "market_data_last_price_usd";
const TRENDS = 50; // symbols whose prices are asked for over time

export class Symbols {
  #api;
  #view;
  #before = new Map(); // symbol → last price
  #prices = new Map(); // symbol → Lines
  #table;

  constructor(api, view) {
    this.#api = api;
    this.#view = view;
    this.#table = new Table($("symbols"), {
      caption: "Symbols: last price, bid, ask, spread, trades",
      keyOf: ({ symbol }) => symbol,
      empty: "No market data.",
      by: ["symbol", 1],
      columns: [
        column("symbol", "Symbol"),
        { key: "trend", title: "Trend", text: true, draw: (cell, row) => this.#trend(cell, row) },
        { key: "last", title: "Last", sort: (row) => row.last_price, draw: (cell, row) => this.#last(cell, row) },
        { ...column("bid", "Bid", price), from: "medium" },
        { ...column("ask", "Ask", price), from: "medium" },
        {
          key: "spread",
          title: "Spread",
          sort: (row) => row.spread,
          show: ({ spread }) => (spread === null ? NONE : `${fixed(spread, 1)} bp`),
        },
        { ...column("trades", "Trades", count), from: "medium" },
      ],
    });
  }

  restart() {
    this.#before.clear();
    this.#prices.clear();
  }

  /** Prices as they were before this page was there. */
  load() {
    const shown = [...this.#prices.values()].slice(0, TRENDS);
    return Promise.all(shown.map((lines) => lines.load(this.#view.window)));
  }

  show(now, market) {
    const rows = Object.entries(market).map(([symbol, of]) => ({ symbol, ...of, spread: spread(of) }));
    for (const { symbol, last_price: last } of rows) {
      if (last != null) this.#lines(symbol).add(now, this.#view.window, [last]);
    }
    this.#table.show(rows);
    for (const { symbol, last_price: last } of rows) this.#before.set(symbol, last);
    say($("symbols-summary"), `${count(rows.length)} symbols`);
  }

  #lines(symbol) {
    let found = this.#prices.get(symbol);
    if (found === undefined) {
      found = new Lines(this.#api, [{ metric: LAST, labels: { symbol } }]);
      this.#prices.set(symbol, found);
    }
    return found;
  }

  #trend(cell, { symbol }) {
    const { times, columns } = this.#lines(symbol);
    const end = times.at(-1) ?? 0;
    drawTrend(cell, times, columns[0] ?? [], end - this.#view.window, end);
  }

  #last(cell, { symbol, last_price: last }) {
    say(cell, price(last));
    const before = this.#before.get(symbol);
    if (before != null && last !== before) cell.className = last > before ? "up" : "down";
  }
}

function spread({ bid, ask }) {
  return bid > 0 && ask > 0 ? ((ask - bid) / ((ask + bid) / 2)) * 1e4 : null;
}
