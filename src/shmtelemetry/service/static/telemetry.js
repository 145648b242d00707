// The figures at the top, and the producers.

import { $, make, say, sayName } from "./dom.js";
import { NONE, count, duration, percent, rate, share, short, shortly } from "./format.js";
import { Lines } from "./history.js";
import { Table } from "./table.js";
import { Tile } from "./tile.js";

const QUERIES = [
  { metric: "shmtel_records_total", figure: "rate" },
  { metric: "shmtel_reader_lag_seconds", figure: "p99" },
  { metric: "shmtel_coalesced_records_total", figure: "rate" },
  { metric: "shmtel_overwritten_records_total", figure: "rate" },
  ...["full", "timeout", "no_ring"].map((reason) => ({
    metric: "shmtel_dropped_records_total",
    labels: { reason },
    figure: "rate",
  })),
];

/** What was lost, and the share that was not, from what the history has: the same that the updates say of now. */
function account(records, lag, coalesced, ...losses) {
  const lost = records.map((taken, at) => (taken === null ? null : losses.reduce((sum, some) => sum + some[at], 0)));
  const coverage = records.map((taken, at) => {
    const attempted = taken + coalesced[at] + lost[at];
    return taken === null ? null : attempted ? 1 - lost[at] / attempted : 1;
  });
  return [records, lag, lost, coverage];
}

/** How records, lag, drops and coverage were. */
export const linesOf = (api) => new Lines(api, QUERIES, account);

export class Tiles {
  #view;
  #lines;
  #tiles;

  constructor(api, view) {
    this.#view = view;
    this.#lines = linesOf(api);
    const host = $("tiles");
    this.#tiles = [
      new Tile(host, "Records a second", {}),
      new Tile(host, "Lag, emit to visible", {}),
      new Tile(host, "Drops a second", { stroke: "--bad" }),
      new Tile(host, "Coverage", { range: (low) => [Math.min(0.99, low), 1.0005] }),
    ];
  }

  /** How it was before this page was there. */
  async load() {
    await this.#lines.load(this.#view.window);
    this.#draw(Date.now() / 1e3);
  }

  show({ telemetry, timestamp }) {
    if (!telemetry) return;
    const { records_per_second: speed, lag_ms: lag, lost_per_second: lost, coverage } = telemetry;
    const [p50, p99] = [lag.p50, lag.p99].map((milliseconds) => (milliseconds === null ? null : milliseconds / 1e3));
    const [records, lags, drops, covered] = this.#tiles;
    records.show(short(speed), `${shortly(telemetry.records)} in all, ${count(telemetry.series)} series`);
    lags.show(duration(p99), `p99 of the last 10 s; p50 ${duration(p50).join(" ")}`);
    drops.show(short(lost), `${count(telemetry.lost)} in all`, lost ? "bad" : "");
    covered.show(
      [share(coverage), coverage === null ? "" : "%"],
      "of what was attempted, last second",
      coverage === null ? "" : coverage < 0.99 ? "bad" : coverage < 1 ? "warn" : "",
    );
    const now = Date.parse(timestamp) / 1e3;
    if (speed !== null && this.#lines.add(now, this.#view.window, [speed, p99, lost, coverage])) this.#draw(now);
  }

  #draw(now) {
    const { times, columns } = this.#lines;
    this.#tiles.forEach(({ plot }, at) => {
      plot.setData([times, columns[at] ?? []], false);
      plot.setScale("x", { min: now - this.#view.window, max: now });
    });
  }
}

/** Who emits, how fast, and how full its rings are. */
export class Producers {
  #api;
  #before = null;
  #table;

  constructor(api) {
    this.#api = api;
    this.#table = new Table($("producers"), {
      caption: "Producers: records a second, fill of their rings, records lost",
      keyOf: ({ name }) => name,
      empty: "Nobody emits yet.",
      by: ["speed", -1],
      columns: [
        {
          key: "name",
          title: "Producer",
          text: true,
          sort: ({ name }) => name,
          draw: (cell, { name, live }) => sayName(cell, live ? name : `${name} (ended)`),
        },
        { key: "speed", title: "Records/s", sort: ({ speed }) => speed, show: ({ speed }) => rate(speed) },
        { key: "used", title: "Ring fill", sort: ({ used }) => used, draw: fill },
        { key: "lost", title: "Lost", sort: ({ lost }) => lost, draw: lose },
      ],
    });
  }

  async refresh() {
    const { producers, timestamp } = await this.#api.get("/api/system/stats");
    const now = Date.parse(timestamp) / 1e3;
    const before = this.#before;
    const rows = producers.map((one) => {
      const then = before?.consumed.get(one.name);
      const lost = Object.values(one.dropped).reduce((sum, some) => sum + some, 0) + one.overwritten + one.aborted;
      const speed =
        then === undefined || now <= before.now ? null : Math.max(0, (one.consumed - then) / (now - before.now));
      return { ...one, lost, speed };
    });
    this.#before = { now, consumed: new Map(producers.map((one) => [one.name, one.consumed])) };
    this.#table.show(rows);
    const live = rows.filter((row) => row.live).length;
    say($("producers-summary"), `${live} live${live < rows.length ? `, ${rows.length - live} ended` : ""}`);
  }
}

function fill(cell, { name, used, capacity, live }) {
  if (!cell.firstChild) {
    const meter = make("meter", { min: 0, max: 1, low: 0.5, high: 0.8, optimum: 0 });
    cell.append(make("span", { class: "fill" }, meter, make("span")));
  }
  const [meter, text] = cell.firstChild.children;
  meter.value = used ?? 0;
  meter.setAttribute("aria-label", `Ring fill of ${name}`);
  meter.title = `of ${count(capacity)} records`;
  say(text, live && used !== null ? percent(used, used > 0 && used < 0.1 ? 2 : 0) : NONE);
}

function lose(cell, { lost }) {
  say(cell, count(lost));
  cell.className = lost ? "down" : "dim";
}
