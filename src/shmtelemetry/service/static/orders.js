// What becomes of orders: how many fill, how many a second reach each status, and the newest trades.

import { spark } from "./charts.js";
import { column, figures } from "./columns.js";
import { $, make, say } from "./dom.js";
import { NONE, duration, fixed, percent, price, rate, shortly, time } from "./format.js";
import { Lines, stepOf } from "./history.js";
import { Table } from "./table.js";

const FLOW = [
  ["accepted", "Accepted"],
  ["filled", "Filled"],
  ["partially_filled", "Partially filled"],
  ["cancelled", "Cancelled"],
  ["expired", "Expired"],
  ["rejected", "Rejected"],
];
const ORDERS = "trading_bot_orders_total";
const TRADES = 30;

export class Orders {
  #api;
  #view;
  #figures;
  #flow;
  #lines;
  #before = null; // {now, orders}
  #trades;

  constructor(api, view) {
    this.#api = api;
    this.#view = view;
    this.#trades = new Table($("trades"), {
      caption: "Recent trades, the newest first",
      keyOf: (row) => row.id,
      empty: "No trade yet.",
      columns: [
        { key: "time", title: "Time", text: true, show: (row) => time(Date.parse(row.timestamp) / 1e3) },
        column("symbol", "Symbol"),
        { key: "side", title: "Side", text: true, draw: side },
        column("quantity", "Quantity", shortly),
        column("price", "Price", price),
        { ...column("slippage_bps", "Slippage", points), from: "medium" },
        { ...column("latency_ms", "Latency", milliseconds), from: "medium" },
        { ...column("bot_id", "Bot"), from: "medium" },
      ].map((one) => ({ ...one, sort: undefined })), // their order is that of time
    });
    this.#figures = figures($("fills"), ["Fill rate", "Venue latency", "Slippage", "Trades"]);
    this.#flow = FLOW.map(([, title]) => multiple(title));
    this.restart();
  }

  restart() {
    const queries = FLOW.map(([status]) => ({ metric: ORDERS, labels: { status }, figure: "rate" }));
    this.#lines = new Lines(this.#api, queries);
    this.#before = null;
  }

  /** The flow as it was before this page was there. */
  async load() {
    await this.#lines.load(this.#view.window);
    this.#draw(Date.now() / 1e3);
  }

  show(now, execution) {
    const [fill, latency, slip, trades] = this.#figures;
    say(fill, percent(execution.fill_rate));
    say(latency, milliseconds(execution.avg_latency_ms));
    say(slip, points(execution.slippage_bps));
    say(trades, shortly(execution.trades));
    if (execution.orders) this.#follow(now, execution.orders);
  }

  /** How many a second there were of each since the point before. */
  #follow(now, orders) {
    const before = this.#before;
    const { window } = this.#view;
    if (before !== null && now < before.now + stepOf(window)) return;
    this.#before = { now, orders };
    if (before === null) return;
    const rates = FLOW.map(([status]) => Math.max(0, (orders[status] - before.orders[status]) / (now - before.now)));
    if (this.#lines.add(now, window, rates)) this.#draw(now);
  }

  #draw(now) {
    const { times, columns } = this.#lines;
    this.#flow.forEach(({ box, plot, value }, at) => {
      const line = columns[at] ?? [];
      box.hidden = !this.#before?.orders[FLOW[at][0]]; // a status that no order has had
      plot.setData([times, line], false);
      plot.setScale("x", { min: now - this.#view.window, max: now });
      say(value, `${rate(line.at(-1))}/s`);
    });
  }

  async refresh() {
    this.#trades.show((await this.#api.get("/api/trades", { limit: TRADES })).trades);
  }
}

function multiple(title) {
  const value = make("b");
  const place = make("div", { class: "chart" });
  const box = make("div", { class: "multiple" }, make("h4", {}, make("span", {}, title), value), place);
  $("flow").append(box);
  return { box, value, plot: spark(place, `${title} orders a second`) };
}

const milliseconds = (value) => duration(value == null ? null : value / 1e3).join(" ");
const points = (value) => (value == null ? NONE : `${fixed(value, 2)} bp`);

function side(cell, row) {
  say(cell, row.side === "buy" ? "▲ buy" : "▼ sell");
  cell.className = `text ${row.side === "buy" ? "up" : "down"}`;
}
