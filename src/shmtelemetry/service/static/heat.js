// How the observations of a histogram were spread over time: a heat map.

import { between } from "./charts.js";
import { count, time } from "./format.js";

const SHADES = 24;
const KEPT = 21_600; // seconds: the longest time window

/** Counts of buckets, second by second, as far as this page has seen them. */
export class Heat {
  #seconds = []; // {begin, end, first, counts}, oldest first
  #most = 0;
  #scale = 2;

  clear() {
    this.#seconds = [];
  }

  get since() {
    return this.#seconds[0]?.begin ?? null;
  }

  /** For how many seconds nothing has come. */
  missing() {
    return this.#seconds.length ? Date.now() / 1000 - this.#seconds.at(-1).end : 60;
  }

  add({ scale, seconds }) {
    this.#scale = scale;
    for (const { end, seconds: length, first, counts } of seconds) {
      const before = this.#seconds.at(-1)?.end ?? 0;
      if (end <= before + 0.5) continue; // told again: its end may differ by what two clocks do
      const begin = Math.abs(end - length - before) < 0.5 ? before : end - length; // and so may begin and end of two
      this.#seconds.push({ begin, end, first, counts });
    }
    this.#seconds.splice(0, this.#seconds.length - KEPT);
  }

  /** [lowest, highest] bound, times a factor. */
  range(factor) {
    let [low, high] = [Infinity, -Infinity];
    for (const { first, counts } of this.#seconds) {
      if (!counts.length) continue;
      low = Math.min(low, first - 1);
      high = Math.max(high, first + counts.length - 1);
    }
    return low === Infinity ? [] : [this.#bound(low) * factor, this.#bound(high) * factor];
  }

  #bound(index) {
    return 2 ** (index / 2 ** this.#scale);
  }

  /** Columns of about `step` seconds: {begin, end, counts}, with counts by bucket. */
  #columns(from, to, step) {
    const found = [];
    for (const { begin, end, first, counts } of this.#seconds) {
      if (end <= from || begin > to) continue;
      const before = found.at(-1);
      const joins = before !== undefined && step > 1 && Math.floor(before.begin / step) === Math.floor(begin / step);
      const column = joins ? before : { begin, end, counts: new Map() };
      if (!joins) found.push(column);
      column.end = end;
      counts.forEach((some, at) => column.counts.set(first + at, (column.counts.get(first + at) ?? 0) + some));
    }
    return found;
  }

  draw(u, factor, step) {
    const { min, max } = u.scales.x;
    const columns = this.#columns(min, max, step);
    const most = columns.reduce((most, { counts }) => Math.max(most, ...counts.values()), 1);
    this.#most = columns.length ? most : 0;
    const shades = Array.from({ length: SHADES }, (_, at) => between("--heat-low", "--heat-high", at / (SHADES - 1)));
    const { ctx } = u;
    ctx.save();
    ctx.beginPath();
    ctx.rect(u.bbox.left, u.bbox.top, u.bbox.width, u.bbox.height);
    ctx.clip();
    for (const { begin, end, counts } of columns) {
      const left = Math.round(u.valToPos(begin, "x", true));
      const right = Math.max(left + 1, Math.round(u.valToPos(end, "x", true)));
      for (const [index, some] of counts) {
        if (!some) continue;
        const top = Math.floor(u.valToPos(this.#bound(index) * factor, "y", true));
        const bottom = Math.ceil(u.valToPos(this.#bound(index - 1) * factor, "y", true));
        ctx.fillStyle = shades[Math.round(((SHADES - 1) * Math.log1p(some)) / Math.log1p(most))];
        ctx.fillRect(left, top, right - left, bottom - top);
      }
    }
    ctx.restore();
  }

  /** How many observations the weakest shade, the one halfway and the strongest stand for; null where none is drawn. */
  get marks() {
    return this.#most > 1 ? [1, Math.round(Math.expm1(Math.log1p(this.#most) / 2)), this.#most] : null;
  }

  /** How many there were at a time, around a value. */
  tell(at, value, step, written) {
    const column = this.#columns(at - step, at + step, step).find(({ begin, end }) => begin < at && at <= end);
    if (!column || !(value > 0)) return "";
    const index = Math.ceil(Math.log2(value) * 2 ** this.#scale);
    const range = `${written(this.#bound(index - 1))} – ${written(this.#bound(index))}`;
    return `${time(at)}\n${range}\n${count(column.counts.get(index) ?? 0)} observations`;
  }
}
