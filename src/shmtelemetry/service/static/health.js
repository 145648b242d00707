// Whether all is well: the worst of all that is known, and what that is.

import { $, make, say } from "./dom.js";
import { percent } from "./format.js";
import { Tile } from "./tile.js";

const WORDS = { good: "Healthy", warn: "Degraded", bad: "Unhealthy", unknown: "Unknown" };
const LEVELS = ["unknown", "bad", "warn", "good"]; // the worst first: of what is not heard of, nothing else is known
const MOST = 4; // that are told one by one

export class Health {
  #api;
  #tile;
  #problems = make("ul", { class: "problems" });
  #status = null; // what the service says of itself
  #parts = []; // of it that are not well: {name, status, reason}
  #system = {};

  constructor(api) {
    this.#api = api;
    this.#tile = new Tile($("tiles"), "Health");
    this.#tile.box.querySelector(".value").classList.add("word");
    this.#tile.box.append(this.#problems);
  }

  restart() {
    [this.#status, this.#parts, this.#system] = [null, [], {}];
  }

  async refresh() {
    const { status } = await this.#api.get("/api/system/health");
    const { components } = status === "healthy" ? { components: [] } : await this.#api.get("/api/system/components");
    [this.#status, this.#parts] = [status, components.filter((part) => part.status !== "ok")];
  }

  /** What the system's collector says. */
  hear(system = {}) {
    this.#system = system;
  }

  show(connection, alerts) {
    const found = [
      ...ofConnection(connection),
      ...ofAlerts(alerts),
      ...this.#ofParts(),
      ...ofCollector(this.#system),
    ].toSorted(([one], [other]) => LEVELS.indexOf(one) - LEVELS.indexOf(other));
    const level = found[0]?.[0] ?? (this.#status === null ? "unknown" : "good");
    const { cpu_percent: cpu, memory_percent: memory } = this.#system;
    this.#tile.show(
      [WORDS[level], ""],
      `CPU ${percent(cpu / 100, 0)}, memory ${percent(memory / 100, 0)}`,
      { good: "good", warn: "warn", bad: "bad" }[level] ?? "",
    );
    this.#tell([...new Set(found.map(([, why]) => why))]);
  }

  #ofParts() {
    if (this.#status === null || this.#status === "healthy") return [];
    const level = this.#status === "degraded" ? "warn" : "bad";
    const told = this.#parts.map(({ name, reason }) => [level, reason ? `${name}: ${reason}` : name]);
    return told.length ? told : [[level, `the service says that it is ${this.#status}`]];
  }

  #tell(reasons) {
    const shown = reasons.slice(0, MOST);
    if (reasons.length > MOST) shown.splice(MOST - 1, 1, `and ${reasons.length - MOST + 1} more`);
    const list = this.#problems;
    if (list.childElementCount !== shown.length) list.replaceChildren(...shown.map(() => make("li")));
    shown.forEach((reason, at) => say(list.children[at], reason));
  }
}

function ofConnection({ name, why }) {
  if (name === "lost") return [["unknown", "the connection is lost"]];
  if (name === "login") return [["unknown", "the session is over"]];
  return name === "stale" ? [["bad", why || "no new figures come"]] : [];
}

function ofCollector({ health = "healthy", problems = [] }) {
  if (health === "healthy") return [];
  const level = health === "degraded" ? "warn" : "bad";
  return problems.length ? problems.map((problem) => [level, problem]) : [[level, `the system is ${health}`]];
}

/** Those that somebody has to look after, by name; an alert that somebody knows of fires all the same. */
function ofAlerts(alerts) {
  const found = new Map();
  for (const { severity, name } of alerts.filter((one) => one.severity === "P0" || one.severity === "P1")) {
    const alert = `${severity} alert ${name}`;
    found.set(alert, (found.get(alert) ?? 0) + 1);
  }
  return [...found].map(([alert, times]) => [
    alert.startsWith("P0") ? "bad" : "warn",
    times > 1 ? `${alert} (${times})` : alert,
  ]);
}
