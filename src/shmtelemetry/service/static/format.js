// How figures are written. Null is a figure that nobody has told: a dash.

export const NONE = "–";
const TIMES = { ns: 1e-9, us: 1e-6, microseconds: 1e-6, ms: 1e-3, milliseconds: 1e-3, seconds: 1 };
const STEPS = [
  [60, "min"],
  [1, "s"],
  [1e-3, "ms"],
  [1e-6, "µs"],
  [1e-9, "ns"],
];
const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const money = new Intl.NumberFormat("en", { minimumFractionDigits: 2, maximumFractionDigits: 2 });
const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });

const known = (value) => value !== null && value !== undefined && Number.isFinite(value);

/** A number by a function of its size, with a minus that is as wide as a plus. */
const written = (value, size) => (value < 0 ? "−" : "") + size(Math.abs(value));

/** Three digits that count: 0.123, 1.23, 12.3, 123. */
const three = (value) =>
  written(value, (size) =>
    size >= 100 ? whole.format(size) : size >= 10 ? size.toFixed(1) : size.toFixed(size >= 1 || !size ? 2 : 3),
  );
const integer = (value) => written(value, whole.format);

export const count = (value) => (known(value) ? integer(value) : NONE);
export const fixed = (value, digits) => (known(value) ? written(value, (size) => size.toFixed(digits)) : NONE);
export const price = (value) =>
  known(value) ? written(value, (size) => (size >= 1 ? money.format(size) : size.toPrecision(4))) : NONE;
export const signed = (value) => (known(value) ? (value > 0 ? "+" : "") + written(value, money.format) : NONE);
export const percent = (value, digits = 1) => (known(value) ? `${fixed(value * 100, digits)} %` : NONE);

/** A number in few digits, and what it is multiplied by: ["129.4", "k"]. */
export function short(value) {
  if (!known(value)) return [NONE, ""];
  const size = Math.abs(value);
  for (const [factor, letter] of [
    [1e12, "T"],
    [1e9, "G"],
    [1e6, "M"],
  ]) {
    if (size >= factor) return [three(value / factor), letter];
  }
  return size >= 1e4
    ? [three(value / 1e3), "k"]
    : [size >= 100 || Number.isInteger(value) ? integer(value) : three(value), ""];
}

export const shortly = (value) => short(value).join(" ").trim();
export const rate = (value) => (known(value) ? shortly(value) : NONE);

/** Seconds in the unit that suits them: ["1.25", "ms"]. */
export function duration(seconds) {
  if (!known(seconds)) return [NONE, ""];
  if (!seconds) return ["0", "s"];
  const [factor, unit] = STEPS.find(([step]) => Math.abs(seconds) >= step * 0.9995) ?? STEPS.at(-1);
  return [three(seconds / factor), unit];
}

/** Seconds in short, for an axis: 10 ms. */
export function mark(seconds) {
  const [factor, unit] = STEPS.find(([step]) => Math.abs(seconds) >= step * 0.9995) ?? STEPS.at(-1);
  return `${written(seconds / factor, (size) => Number(size.toPrecision(3)))} ${unit}`;
}

/** Never rounded up to all of it. */
export function share(value) {
  if (!known(value)) return NONE;
  return value >= 1 ? "100" : (Math.floor(value * 1e5) / 1e3).toFixed(3);
}

/** How many seconds one of a metric's unit is; null for what is no time. */
export function secondsPer(metric, unit) {
  return TIMES[unit || metric.split("_").at(-1)] ?? null;
}

/** A value of a metric, in the unit that suits it. */
export function value(number, metric, unit) {
  const seconds = secondsPer(metric, unit);
  return seconds === null || !known(number) ? shortly(number) : duration(number * seconds).join(" ");
}

export const time = (seconds) => clock.format(seconds * 1000);

export function ago(iso, now = Date.now()) {
  const seconds = Math.max(0, (now - Date.parse(iso)) / 1000);
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  return seconds < 86400
    ? `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`
    : `${Math.floor(seconds / 86400)} d`;
}

/** A series as Prometheus writes it. */
export function seriesName(metric, labels) {
  const pairs = labelText(labels);
  return pairs ? `${metric} {${pairs}}` : metric;
}

export const labelText = (labels) =>
  Object.entries(labels)
    .map(([name, of]) => `${name}=${of}`)
    .join(", ");
