// What is drawn: uPlot in the page's colours, as wide as there is room.

const { uPlot } = window;
const probe = document.createElement("i");
let colours = new Map();
const drawn = new Set();

/** A colour of the palette as it is in the theme that holds. */
export function colour(name) {
  let found = colours.get(name);
  if (found === undefined) {
    if (!probe.isConnected) document.body.append(probe);
    probe.style.display = "none";
    probe.style.color = `var(${name})`;
    found = getComputedStyle(probe).color;
    colours.set(name, found);
  }
  return found;
}

/** The theme has become another one. */
export function recolour() {
  colours = new Map();
  for (const plot of drawn) plot.redraw(true);
}

/** A colour between two, as [r, g, b]. */
export function between(low, high, share) {
  const [one, other] = [low, high].map((name) =>
    colour(name)
      .match(/[\d.]+/g)
      .map(Number),
  );
  return `rgb(${one
    .slice(0, 3)
    .map((part, at) => Math.round(part + (other[at] - part) * share))
    .join(" ")})`;
}

export function plot(host, options, data) {
  const size = () => ({ width: Math.max(50, host.clientWidth), height: host.clientHeight });
  const made = new uPlot({ ...options, ...size(), legend: { show: false } }, data, host);
  drawn.add(made);
  new ResizeObserver(() => {
    const wanted = size();
    if (wanted.width !== made.width || wanted.height !== made.height) made.setSize(wanted);
  }).observe(host);
  return made;
}

/** A small line without axes. */
export function spark(host, name, { stroke = "--accent", range = fromZero } = {}) {
  host.setAttribute("role", "img");
  host.setAttribute("aria-label", `${name} over the time window`);
  const options = {
    cursor: { show: false },
    axes: [{ show: false }, { show: false }],
    padding: [3, 0, 2, 0],
    scales: { x: { time: true }, y: { range: (_, low, high) => range(low, high) } },
    series: [{}, { stroke: () => colour(stroke), width: 1.4, points: { show: false }, fill: () => faded(stroke) }],
  };
  return plot(host, options, [[], []]);
}

const fromZero = (_, high) => [0, high > 0 ? high * 1.05 : 1];
const faded = (name) => colour(name).replace(/rgb\((.*)\)/, "rgba($1, 0.12)");

export function xAxis() {
  return {
    stroke: () => colour("--quiet"),
    grid: { stroke: () => colour("--grid"), width: 1 },
    ticks: { show: false },
    font: "12px system-ui, sans-serif",
    space: 90,
    gap: 9, // else the first label runs into the lowest of the y axis
    size: 30,
    values: [
      [3600, "{HH}:{mm}", null, null, null, null, null, null, 1],
      [60, "{HH}:{mm}", null, null, null, null, null, null, 1],
      [1, "{HH}:{mm}:{ss}", null, null, null, null, null, null, 1],
    ],
  };
}

export function yAxis(written) {
  return {
    stroke: () => colour("--quiet"),
    grid: { stroke: () => colour("--grid"), width: 1 },
    ticks: { show: false },
    font: "12px system-ui, sans-serif",
    size: 62,
    values: (_, at) => at.map((value) => (value === null ? "" : written(value))),
  };
}

/** The same of a logarithmic scale: only decades have lines. */
export function decadeAxis(written) {
  const decades = (_, at) =>
    at.map((value) => (value !== null && Math.abs(Math.log10(value) % 1) < 1e-6 ? value : null));
  const axis = yAxis(written);
  return { ...axis, filter: decades, grid: { ...axis.grid, filter: decades } };
}

/** What is under the pointer, beside it. text(u, index, value of y) → text, "" for nothing. */
export function tip(text) {
  const box = document.createElement("div");
  box.className = "tip";
  box.hidden = true;
  return {
    hooks: {
      init: (u) => u.over.append(box),
      setCursor: (u) => {
        const { left, top, idx } = u.cursor;
        const said = left >= 0 && idx !== null ? text(u, idx, u.posToVal(top, "y")) : "";
        box.hidden = !said;
        if (!said) return;
        box.textContent = said;
        const right = left > u.over.clientWidth / 2;
        box.style.left = right ? "auto" : `${left + 12}px`;
        box.style.right = right ? `${u.over.clientWidth - left + 12}px` : "auto";
        box.style.top = "4px";
      },
    },
  };
}
