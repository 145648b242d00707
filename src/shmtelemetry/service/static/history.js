// Figures over time: what the history has, and then what comes.

export const POINTS = 300; // that a window is drawn with

export const stepOf = (seconds) => Math.max(1, Math.ceil(seconds / POINTS));

/**
 * One figure of one series, or of several added up, over the window; asks only for what it has not, and no more often
 * than there is something new.
 */
export class Track {
  #api;
  #query;
  #step = 0;
  #due = 0;
  times = [];
  values = [];

  constructor(api, query) {
    this.#api = api;
    this.#query = query;
  }

  async refresh(window) {
    const step = stepOf(window);
    if (step !== this.#step) [this.#step, this.#due, this.times, this.values] = [step, 0, [], []];
    const end = Date.now() / 1000;
    if (end < this.#due) return this;
    const start = Math.max(end - window, (this.times.at(-1) ?? -step) + step / 2);
    const body = { ...this.#query, step, start: iso(start), end: iso(end) };
    this.#due = end + step; // also for whoever wants it while this is under way
    const found = await this.#api.post("/api/metrics/history", body).catch((error) => {
      this.#due = 0;
      throw error;
    });
    if (step !== this.#step) return this; // the window has become another one meanwhile
    for (const [time, value] of found.points) {
      if (time > (this.times.at(-1) ?? -Infinity)) {
        this.times.push(time);
        this.values.push(value);
      }
    }
    trim(end - window - step, this.times, this.values);
    return this;
  }
}

/**
 * Figures on common times: the history is asked once, and then they go on with what the updates say.
 *
 * queries: of tracks. joined(...columns of the tracks) → columns.
 */
export class Lines {
  #api;
  #queries;
  #joined;
  #asked = 0;
  times = [];
  columns = [];

  constructor(api, queries, joined = (...columns) => columns) {
    [this.#api, this.#queries, this.#joined] = [api, queries, joined];
  }

  async load(window) {
    const asked = ++this.#asked;
    const tracks = this.#queries.map((query) => new Track(this.#api, query));
    await Promise.all(tracks.map((track) => track.refresh(window)));
    if (asked !== this.#asked) return; // another window meanwhile
    const [times, ...columns] = aligned(tracks, stepOf(window));
    [this.times, this.columns] = [times, this.#joined(...columns)];
  }

  /** Returns whether the time has come for a point; then it is there. figures: one of each column. */
  add(now, window, figures) {
    if (now < (this.times.at(-1) ?? 0) + stepOf(window)) return false;
    if (!this.columns.length) this.columns = figures.map(() => []);
    this.times.push(now);
    figures.forEach((figure, at) => this.columns[at].push(figure));
    trim(now - window, this.times, ...this.columns);
    return true;
  }
}

/** Drop what is older, of arrays whose first one is of times. */
export function trim(oldest, times, ...others) {
  const keep = times.findIndex((time) => time >= oldest);
  const drop = keep < 0 ? times.length : keep;
  for (const array of [times, ...others]) array.splice(0, drop);
}

/** Tracks on common times: [times, values, values…]; null where one has nothing, and in between where none has. */
export function aligned(tracks, step) {
  const ends = tracks.map((track) => track.times.at(-1) ?? 0);
  const newest = Math.max(...ends);
  const whole = Math.min(...ends.filter((end) => end > newest - 1.5 * step)); // the newest may be there of some alone
  const known = [...new Set(tracks.flatMap((track) => track.times))]
    .filter((time) => time <= whole)
    .sort((a, b) => a - b);
  const times = known.flatMap((time, at) =>
    time - (known[at - 1] ?? time) > 2.5 * step ? [time - step, time] : [time],
  );
  const columns = tracks.map((track) => {
    const known = new Map(track.times.map((time, at) => [time, track.values[at]]));
    return times.map((time) => known.get(time) ?? null);
  });
  return [times, ...columns];
}

const iso = (seconds) => new Date(seconds * 1000).toISOString();
