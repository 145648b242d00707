// The WebSocket: it comes back by itself, and knows what it has missed.

const FIRST = 500; // milliseconds until it is tried again
const LONGEST = 10_000;
const STALE = 3_000; // without an update after which the figures are said to be old

/**
 * Calls `heard(message)` for each, and `changed(state)` with what has become of the connection: {name, retryAt, missed,
 * gap, tries}. name: connecting, live, stale, lost or login. missed: updates that never came, in all. gap: seconds that
 * the last interruption lasted, null for none.
 */
export class Connection {
  #api;
  #heard;
  #changed;
  #socket = null;
  #timer = null;
  #watch = null;
  #last = null; // sequence of the newest update
  #heardAt = 0;
  #updatedAt = 0;
  #interval = 0.1;
  #beat = 15;
  #lostAt = null;
  #fresh = true;
  state = { name: "connecting", retryAt: null, missed: 0, gap: null, tries: 0 };

  constructor(api, heard, changed) {
    this.#api = api;
    this.#heard = heard;
    this.#changed = changed;
    addEventListener("online", () => this.#soon());
    document.addEventListener("visibilitychange", () => document.hidden || this.#soon());
  }

  /** Begin, or begin anew with the API's namespace. */
  open() {
    clearTimeout(this.#timer);
    this.#timer = null;
    this.#close();
    this.#fresh = true;
    const socket = new WebSocket(this.#api.updates);
    this.#socket = socket;
    this.#heardAt = performance.now();
    socket.onmessage = (event) => this.#take(event.data);
    socket.onclose = () => this.#end();
    this.#watch = setInterval(() => this.#look(), 500);
    if (this.state.tries === 0) this.#say({ name: "connecting", retryAt: null });
  }

  /** Another namespace: sequences begin anew. */
  restart() {
    this.#last = null;
    this.state.tries = 0;
    this.open();
  }

  #close() {
    clearInterval(this.#watch);
    if (this.#socket === null) return;
    this.#socket.onclose = this.#socket.onmessage = null;
    this.#socket.close();
    this.#socket = null;
  }

  #take(text) {
    this.#heardAt = performance.now();
    const message = JSON.parse(text);
    if (message.type === "connected") {
      this.#interval = message.interval;
      this.#beat = message.heartbeat_interval;
    } else if (message.type === "metrics_update") {
      this.#count(message);
    } else if (message.type === "error") {
      this.#say({ name: "stale", why: message.message });
    }
    this.#heard(message);
  }

  #count({ sequence, previous }) {
    this.#updatedAt = performance.now();
    const before = this.#last;
    let missed = 0;
    if (before !== null && this.#fresh) missed = Math.max(0, sequence - before - 1);
    else if (before !== null && previous > before) missed = previous - before;
    this.#last = sequence;
    const again = this.#fresh && this.#lostAt !== null;
    const gap = again ? (performance.now() - this.#lostAt) / 1000 : missed ? missed * this.#interval : this.state.gap;
    if (again) this.#lostAt = null;
    this.#fresh = false;
    if (missed || again || this.state.name !== "live") {
      this.#say({ name: "live", retryAt: null, tries: 0, gap, missed: this.state.missed + missed, why: "" });
    }
  }

  /** Is it silent, though it is open? */
  #look() {
    const now = performance.now();
    if (now - this.#heardAt > 2_500 * this.#beat) this.#end();
    else if (this.state.name === "live" && now - this.#updatedAt > STALE + 3_000 * this.#interval) {
      this.#say({ name: "stale", why: "" });
    }
  }

  async #end() {
    this.#close();
    this.#lostAt ??= performance.now();
    const tries = this.state.tries + 1;
    const wait = Math.min(LONGEST, FIRST * 2 ** (tries - 1)) * (0.75 + Math.random() / 2);
    this.#say({ name: "lost", retryAt: Date.now() + wait, tries });
    this.#timer = setTimeout(() => this.open(), wait);
    // A handshake that is refused looks like one that never came: ask why.
    await this.#api.get("/api/system/components").catch((error) => {
      if (error.status !== 401) return;
      clearTimeout(this.#timer);
      this.#timer = null;
      this.#say({ name: "login", retryAt: null });
    });
  }

  #soon() {
    if (this.#timer !== null) this.open();
  }

  #say(change) {
    this.state = { ...this.state, ...change };
    this.#changed(this.state);
  }
}
