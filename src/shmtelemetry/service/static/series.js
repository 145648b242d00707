// The table of all series.

import { attempt } from "./asking.js";
import { $, make, say, sayName, segments } from "./dom.js";
import { count, labelText, percent, rate, seriesName, shortly, value } from "./format.js";
import { Table } from "./table.js";

const KINDS = [
  ["histogram", "Histograms"],
  ["counter", "Counters"],
  ["gauge", "Gauges"],
  ["", "All"],
];
const LIMIT = 300; // of which the service says which: a table that has but some cannot sort them itself
const FASTEST = ["rate", -1];

export class Series {
  #api;
  #latency;
  #kind = "histogram";
  #table;
  #asked = 0;
  #by = FASTEST;

  constructor(api, latency) {
    this.#api = api;
    this.#latency = latency;
    this.#table = new Table($("series"), {
      caption: "Series: rate, quantiles, maximum and coverage of the last 10 seconds",
      keyOf: ({ metric, labels }) => seriesName(metric, labels),
      empty: "No series is like that.",
      by: this.#by,
      columns: this.#columns(),
      mark: (row) => this.#isChosen(row),
      turned: (by) => {
        this.#by = by;
        attempt(() => this.refresh());
      },
    });
    segments($("kind"), "kind", KINDS, this.#kind, (kind) => {
      this.#kind = kind;
      const columns = this.#columns();
      if (!columns.some(({ key }) => key === this.#by[0])) this.#by = kind === "gauge" ? ["metric", 1] : FASTEST;
      this.#table.change(columns, this.#by);
      attempt(() => this.refresh());
    });
    let typed;
    $("filter").addEventListener("input", () => {
      clearTimeout(typed);
      typed = setTimeout(() => attempt(() => this.refresh()), 120);
    });
  }

  async refresh() {
    const asked = ++this.#asked;
    const found = await this.#api.get("/api/metrics/series", {
      kind: this.#kind,
      search: $("filter").value.trim(),
      limit: LIMIT,
      sort: this.#by[0],
      order: this.#by[1] < 0 ? "descending" : "ascending",
    });
    if (asked !== this.#asked) return; // something else is asked for meanwhile
    this.#table.show(found.series);
    say(
      $("series-summary"),
      `${found.count < found.total ? `${count(found.count)} of ` : ""}${count(found.total)} series`,
    );
  }

  #isChosen({ metric, labels }) {
    const chosen = this.#latency.chosen;
    return chosen !== null && seriesName(metric, labels) === seriesName(chosen.metric, chosen.labels);
  }

  #columns() {
    const figure = (key, title, from = null) => ({
      key,
      title,
      from,
      sort: true,
      show: (row) => value(row[key], row.metric, row.unit),
    });
    const columns = [
      {
        key: "metric",
        title: "Metric",
        text: true,
        sort: true,
        draw: (cell, row) => this.#name(cell, row),
      },
      { key: "labels", title: "Labels", text: true, from: "wide", sort: true, draw: labelled },
    ];
    if (this.#kind !== "gauge")
      columns.push({ key: "rate", title: "Rate/s", sort: true, show: (row) => rate(row.rate) });
    if (this.#kind === "histogram") {
      columns.push(
        figure("p50", "p50", "large"),
        figure("p90", "p90", "large"),
        figure("p99", "p99"),
        figure("p999", "p99.9", "large"),
        figure("max", "Max", "medium"),
      );
    }
    if (this.#kind !== "gauge") {
      columns.push({ key: "coverage", title: "Coverage", sort: true, draw: covered });
    }
    const isCount = (row) => row.kind === "histogram";
    columns.push({
      key: "value",
      title: this.#kind === "histogram" ? "Observations" : "Value",
      from: this.#kind === "histogram" ? "large" : null,
      sort: true,
      show: (row) => (isCount(row) ? shortly(row.value) : value(row.value, row.metric, row.unit)),
    });
    return columns;
  }

  #name(cell, row) {
    cell.dataset.labels = labelText(row.labels); // for where there is no room for a column of them
    if (row.kind !== "histogram") return sayName(cell, row.metric);
    if (!cell.firstChild) cell.append(make("button", { onclick: () => this.#show(cell.row) }));
    cell.row = row;
    sayName(cell.firstChild, row.metric);
    cell.firstChild.title = `Show ${seriesName(row.metric, row.labels)} above`;
  }

  async #show(row) {
    await this.#latency.choose(row);
    await attempt(() => this.refresh());
  }
}

function labelled(cell, { labels }) {
  cell.classList.add("labels");
  say(cell, labelText(labels));
}

function covered(cell, { coverage }) {
  say(cell, percent(coverage, coverage < 1 ? 2 : 0));
  cell.className = coverage === null ? "dim" : coverage < 0.99 ? "down" : coverage < 1 ? "low" : "dim";
}
