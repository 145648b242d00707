// Latency of one histogram: bands of quantiles over time, and how its observations were spread.

import { colour, decadeAxis, plot, tip, xAxis } from "./charts.js";
import { attempt } from "./asking.js";
import { $, make, say } from "./dom.js";
import { count, duration, mark, secondsPer, seriesName, shortly, time } from "./format.js";
import { Heat } from "./heat.js";
import { Track, aligned, stepOf } from "./history.js";

const FIGURES = [
  ["p50", "--p50"],
  ["p90", "--p90"],
  ["p99", "--p99"],
  ["max", "--peak"],
];
const MOST = 200; // histograms to choose from
const LATE = 30; // seconds after which a distribution is asked for at the latest: the service has the last 60
const OWN = /^(shmtel_|http_|event_loop_|websocket_)/; // figures of the service itself: not what is looked at first

export class Latency {
  #api;
  #view;
  #tracks = [];
  #heat = new Heat();
  #bands;
  #map;
  #choices = new Map();
  #factor = 1;
  #written = shortly;
  chosen = null; // {metric, labels, unit}

  constructor(api, view) {
    this.#api = api;
    this.#view = view;
    const legend = $("bands-legend");
    for (const [name, shade] of FIGURES) {
      const one = make("span", {}, name);
      one.style.setProperty("--of", `var(${shade})`);
      legend.append(one);
    }
    $("histogram").addEventListener("change", (event) => this.choose(this.#choices.get(event.target.value)));
    this.#bands = this.#plotBands();
    this.#map = this.#plotHeat();
  }

  /** Which there are to choose from, the fastest first. */
  offer(rows) {
    const offered = rows.slice(0, MOST);
    const name = (row) => seriesName(row.metric, row.labels);
    const names = offered.map(name).toSorted();
    if (this.chosen === null && offered.length) {
      const wanted = offered.find((row) => name(row) === this.#view.histogram);
      this.choose(wanted ?? offered.find(({ metric, rate }) => rate && !OWN.test(metric)) ?? offered[0]);
    }
    if (this.chosen !== null && !names.includes(name(this.chosen))) names.push(name(this.chosen));
    for (const row of offered) this.#choices.set(name(row), row);
    const select = $("histogram");
    if (select.options.length !== names.length || names.some((one, at) => select.options[at].value !== one)) {
      select.replaceChildren(...names.map((one) => make("option", {}, one)));
    }
    if (this.chosen !== null) select.value = name(this.chosen);
  }

  choose({ metric, labels, unit }) {
    this.chosen = { metric, labels, unit };
    this.#choices.set(seriesName(metric, labels), this.chosen);
    this.#view.choose(seriesName(metric, labels));
    this.#factor = secondsPer(metric, unit) ?? 1;
    this.#written = secondsPer(metric, unit) === null ? shortly : (value) => duration(value).join(" ");
    this.#tracks = FIGURES.map(([figure]) => new Track(this.#api, { metric, labels, figure }));
    this.#heat.clear();
    const select = $("histogram");
    if (![...select.options].some((one) => one.value === this.#view.histogram))
      select.append(make("option", {}, this.#view.histogram));
    select.value = this.#view.histogram;
    this.#name();
    return attempt(() => this.refresh());
  }

  /** A select cuts a long name off. */
  #name() {
    $("histogram").title = this.#view.histogram;
    say($("histogram-name"), this.#view.histogram);
  }

  async refresh() {
    if (this.chosen === null) return;
    const tracks = this.#tracks;
    const { window } = this.#view;
    const [spread] = await Promise.all([this.#spread(window), ...tracks.map((track) => track.refresh(window))]);
    if (tracks !== this.#tracks) return; // another one was chosen meanwhile
    if (spread !== null) this.#heat.add(spread);
    this.show();
  }

  /** What of the distribution is missing, as soon as that is a column of the map. */
  async #spread(window) {
    const missing = this.#heat.missing();
    if (missing < Math.min(stepOf(window), LATE)) return null;
    const { metric, labels } = this.chosen;
    const seconds = Math.min(60, Math.ceil(missing) + 2);
    return this.#api.post("/api/metrics/distribution", { metric, labels, seconds });
  }

  show() {
    const now = Date.now() / 1000;
    const { window } = this.#view;
    const [times, ...columns] = aligned(this.#tracks, stepOf(window));
    const values = columns.map((column) => column.map((value) => (value > 0 ? value * this.#factor : null)));
    const range = decades(values.flat(), this.#heat.range(this.#factor));
    const x = { min: now - window, max: now };
    for (const [drawing, data] of [
      [this.#bands, [times, ...values]],
      [
        this.#map,
        [
          [x.min, x.max],
          [null, null],
        ],
      ],
    ]) {
      drawing.batch(() => {
        drawing.setData(data, false);
        drawing.setScale("x", x);
        drawing.setScale("y", range);
      });
    }
    this.#tell(values);
  }

  #tell(values) {
    const told = FIGURES.map(
      ([name], at) => `${name} ${this.#written(values[at].findLast((value) => value !== null))}`,
    );
    [...$("bands-legend").children].forEach((one, at) => say(one, told[at]));
    $("bands").setAttribute("aria-label", `Quantiles over time of ${this.#view.histogram}; at last ${told.join(", ")}`);
    const since = this.#heat.since;
    const late = since !== null && since > Date.now() / 1000 - this.#view.window + 5;
    say($("heat-caption"), since === null ? "no observations" : late ? `since ${time(since)}` : "");
    $("heat").setAttribute(
      "aria-label",
      `Heat map of ${this.#view.histogram} over time; its range is that of the quantiles above`,
    );
  }

  #plotBands() {
    const series = FIGURES.map(([name, shade]) => ({
      label: name,
      stroke: () => colour(shade),
      width: name === "max" ? 1 : 1.5,
      dash: name === "max" ? [3, 3] : undefined,
      points: { show: false },
      spanGaps: false,
      scale: "y",
    }));
    const said = (u, at) =>
      [time(u.data[0][at]), ...FIGURES.map(([name], one) => `${name}  ${this.#written(u.data[one + 1][at])}`)].join(
        "\n",
      );
    $("bands").setAttribute("role", "img");
    return plot(
      $("bands"),
      {
        ...this.#common(tip(said)),
        series: [{}, ...series],
        bands: [
          { series: [3, 2], fill: () => veil("--p99", 0.35) },
          { series: [2, 1], fill: () => veil("--p90", 0.35) },
        ],
      },
      [[], [], [], [], []],
    );
  }

  #plotHeat() {
    const said = (u, _, value) =>
      this.#heat.tell(u.posToVal(u.cursor.left, "x"), value / this.#factor, stepOf(this.#view.window), (bound) =>
        this.#written(bound * this.#factor),
      );
    $("heat").setAttribute("role", "img");
    const options = this.#common(tip(said));
    options.plugins.push({ hooks: { draw: (u) => this.#drawHeat(u) } });
    return plot($("heat"), { ...options, series: [{}, { scale: "y", stroke: "transparent" }] }, [
      [0, 1],
      [null, null],
    ]);
  }

  #drawHeat(u) {
    this.#heat.draw(u, this.#factor, stepOf(this.#view.window));
    const { marks } = this.#heat;
    $("heat-scale").hidden = marks === null;
    if (marks === null) return;
    [...$("heat-scale").querySelectorAll("b")].forEach((place, at) => say(place, count(marks[at])));
  }

  #common(plugin) {
    return {
      cursor: {
        y: false,
        points: { show: false },
        drag: { x: false, y: false },
        sync: { key: "latency", setSeries: false },
      },
      scales: {
        x: { time: true },
        y: { distr: 3, log: 10, range: (_, low, high) => (low > 0 ? [low, high] : [1e-6, 1e-3]) },
      },
      axes: [xAxis(), decadeAxis((value) => (this.#written === shortly ? shortly(value) : mark(value)))],
      padding: [8, 24, 0, 0],
      plugins: [plugin],
    };
  }
}

/** Whole decades around all values. */
function decades(values, heat) {
  const known = [...values, ...heat].filter((value) => value > 0);
  if (!known.length) return { min: 1e-6, max: 1e-3 };
  const low = known.reduce((one, other) => Math.min(one, other));
  const high = known.reduce((one, other) => Math.max(one, other));
  const min = 10 ** Math.floor(Math.log10(low));
  return { min, max: Math.max(min * 10, 10 ** Math.ceil(Math.log10(high))) };
}

const veil = (name, alpha) => colour(name).replace(/rgb\((.*)\)/, `rgba($1, ${alpha})`);
