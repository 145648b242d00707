// Profit over time, bots, and what they hold.

import { colour, plot, tip, xAxis, yAxis } from "./charts.js";
import { column, figures, profitColumn, sayProfit } from "./columns.js";
import { $, say } from "./dom.js";
import { NONE, count, price, shortly, signed, time } from "./format.js";
import { Lines } from "./history.js";
import { Table } from "./table.js";

const PROFITS = ["trading_strategy_realized_pnl_usd", "trading_strategy_unrealized_pnl_usd", "trading_bot_pnl_usd"];

export class Accounts {
  #api;
  #view;
  #bots;
  #positions;
  #figures;
  #chart;
  #lines;

  constructor(api, view) {
    this.#api = api;
    this.#view = view;
    this.#bots = new Table($("bots"), {
      caption: "Bots: strategy, status, profit, positions",
      keyOf: (row) => row.bot_id,
      empty: "No bot.",
      by: ["bot_id", 1],
      columns: [
        column("bot_id", "Bot"),
        { ...column("strategy", "Strategy"), from: "medium" },
        { ...column("status", "Status"), draw: status },
        profitColumn("pnl", "Profit, USD"),
        {
          key: "held",
          title: "Positions",
          sort: (row) => row.positions.length,
          show: (row) => count(row.positions.length),
        },
      ],
    });
    this.#positions = new Table($("positions"), {
      caption: "Open positions",
      keyOf: (row) => `${row.bot_id} ${row.symbol}`,
      empty: "No position is open.",
      by: ["symbol", 1],
      columns: [
        column("symbol", "Symbol"),
        column("bot_id", "Bot"),
        column("quantity", "Quantity", shortly),
        { ...column("average_price", "Average", price), from: "medium" },
        { ...column("mark_price", "Mark", price), from: "medium" },
        profitColumn("unrealized_pnl", "Unrealized"),
      ],
    });
    this.#figures = figures($("profit"), ["Total, USD", "Today, USD", "Open positions", "Bots running"]);
    this.#chart = profitChart($("profit-chart"));
    this.restart();
  }

  restart() {
    const queries = PROFITS.map((metric) => ({ metric }));
    this.#lines = new Lines(this.#api, queries, (...columns) => [profits(...columns)]);
  }

  /** Profit as it was before this page was there. */
  async load() {
    await this.#lines.load(this.#view.window);
    this.#draw(Date.now() / 1e3);
  }

  show(now, strategy) {
    const [total, today, open, running] = this.#figures;
    sayProfit(total, strategy.total_pnl);
    sayProfit(today, strategy.daily_pnl);
    say(open, count(strategy.open_positions));
    const { running: on, paused, stopped } = strategy.bots ?? {};
    say(running, on == null ? NONE : `${on} of ${on + (paused ?? 0) + (stopped ?? 0)}`);
    const { total_pnl: profit } = strategy;
    if (profit != null && this.#lines.add(now, this.#view.window, [profit])) this.#draw(now);
  }

  #draw(now) {
    const { times, columns } = this.#lines;
    this.#chart.setData([times, columns[0] ?? []], false);
    this.#chart.setScale("x", { min: now - this.#view.window, max: now });
  }

  async refresh() {
    const { bots } = await this.#api.get("/api/v1/bots/");
    this.#bots.show(bots);
    this.#positions.show(bots.flatMap(({ bot_id, positions }) => positions.map((one) => ({ bot_id, ...one }))));
  }
}

/** What strategies say comes before what bots say, as in the figure of now. */
function profits(realized, unrealized, ofBots) {
  return realized.map((one, at) => (one === null || unrealized[at] === null ? ofBots[at] : one + unrealized[at]));
}

function profitChart(host) {
  host.setAttribute("role", "img");
  host.setAttribute("aria-label", "Profit over the time window, in USD");
  return plot(
    host,
    {
      cursor: { y: false, points: { show: false }, drag: { x: false, y: false } },
      axes: [
        xAxis(),
        { ...yAxis(signedWhole), splits: (u, _, low, high) => (low < 0 && high > 0 ? [low, 0, high] : [low, high]) },
      ],
      padding: [8, 24, 0, 0],
      plugins: [tip((u, at) => (u.data[1][at] === null ? "" : `${time(u.data[0][at])}\n${signed(u.data[1][at])} USD`))],
      series: [{}, { stroke: () => colour("--accent"), width: 1.5, points: { show: false } }],
    },
    [[], []],
  );
}

const signedWhole = (value) => signed(Math.round(value)).replace(/\.00$/, "");

function status(cell, row) {
  say(cell, row.status ?? NONE);
  cell.className = `text ${{ running: "up", paused: "low", stopped: "down" }[row.status] ?? "dim"}`;
}
