// What is looked at, and how: time window, pause, theme, keys. The address keeps it, so that a wall can be given one.

import { recolour } from "./charts.js";
import { $, make, say, segments } from "./dom.js";

const WINDOWS = [
  ["60", "1 min"],
  ["300", "5 min"],
  ["900", "15 min"],
  ["3600", "1 h"],
  ["21600", "6 h"],
];
const THEMES = ["system", "light", "dark"];

/** changed(what): "window" or "pause" is another one now. */
export class View {
  #changed;
  #kept = new URLSearchParams(location.hash.slice(1));
  #setWindow;
  #keys = [];
  paused = false;

  constructor(changed) {
    this.#changed = changed;
    const given = this.#kept.get("window");
    this.window = Number(WINDOWS.some(([value]) => value === given) ? given : "300");
    this.histogram = this.#kept.get("histogram");
    this.namespace = this.#kept.get("namespace");
    this.#setWindow = segments($("window"), "window", WINDOWS, String(this.window), (value) => this.#turn(value));
    $("pause").addEventListener("click", () => this.pause());
    $("theme").addEventListener("click", () => this.#nextTheme());
    $("keys").addEventListener("click", () => $("help").showModal());
    this.#theme(localStorage.getItem("theme") ?? "system");
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", recolour);
    this.#listen();
  }

  choose(histogram) {
    this.histogram = histogram;
    this.#keep("histogram", histogram);
  }

  show(namespace) {
    this.namespace = namespace;
    this.#keep("namespace", namespace);
  }

  pause() {
    this.paused = !this.paused;
    const button = $("pause");
    button.setAttribute("aria-pressed", this.paused);
    say(button.querySelector(".word"), this.paused ? "Resume" : "Pause");
    this.#changed("pause");
  }

  #turn(value) {
    this.window = Number(value);
    this.#keep("window", value);
    this.#changed("window");
  }

  #keep(name, value) {
    this.#kept.set(name, value);
    history.replaceState(null, "", `#${this.#kept}`);
  }

  #nextTheme() {
    this.#theme(THEMES[(THEMES.indexOf(localStorage.getItem("theme") ?? "system") + 1) % THEMES.length]);
  }

  #theme(theme) {
    localStorage.setItem("theme", theme);
    document.documentElement.dataset.theme = theme;
    say($("theme").querySelector(".word"), `Theme: ${theme}`);
    recolour();
  }

  // ---- keys ----

  /** key: what is pressed. does: what happens, in words. */
  key(key, does, act) {
    this.#keys.push({ key, act });
    $("keys-list").append(make("dt", {}, make("kbd", {}, key.toUpperCase())), make("dd", {}, does));
  }

  #listen() {
    this.key("p", "Pause or resume", () => this.pause());
    this.key("t", "Theme: system, light, dark", () => this.#nextTheme());
    this.key("?", "This help", () => $("help").showModal());
    WINDOWS.forEach(([value, name], at) =>
      this.key(String(at + 1), `Time window of ${name}`, () => {
        this.#setWindow(value);
        this.#turn(value);
      }),
    );
    const on = $("keys-on");
    on.checked = localStorage.getItem("keys") !== "off";
    on.addEventListener("change", () => localStorage.setItem("keys", on.checked ? "on" : "off"));
    document.addEventListener("keydown", (event) => this.#press(event, on.checked));
  }

  #press(event, on) {
    const { target, key } = event;
    if (key === "Escape" && target.id === "filter") return target.blur();
    const typing =
      target.matches("input:not([type=radio], [type=checkbox]), select, textarea") ||
      document.querySelector("dialog[open]");
    if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
    const found = this.#keys.find((one) => one.key === key.toLowerCase());
    if (!found || (!on && key !== "?")) return;
    event.preventDefault();
    found.act();
  }
}
