// The page: joins the connection, the view, and what shows the figures.

import { Alerts } from "./alerts.js";
import { Api } from "./api.js";
import { attempt, every } from "./asking.js";
import { Connection } from "./connection.js";
import { $, make, say } from "./dom.js";
import { count, duration } from "./format.js";
import { Health } from "./health.js";
import { Latency } from "./latency.js";
import { Series } from "./series.js";
import { Producers, Tiles } from "./telemetry.js";
import { Trading } from "./trading.js";
import { View } from "./view.js";

const PAINT = 250; // milliseconds between two paintings: figures that change faster cannot be read
const ASK = 2_000; // milliseconds between two questions of one kind

const api = new Api(() => log());
const view = new View(changed);
const tiles = new Tiles(api, view);
const health = new Health(api);
const producers = new Producers(api);
const latency = new Latency(api, view);
const series = new Series(api, latency);
const trading = new Trading(api, view);
const alerts = new Alerts(api);
const connection = new Connection(api, heard, told);

let newest = null; // update that was not painted yet
let gone = false; // whether figures came that were not painted since they were loaded
let state = connection.state;
let interruptions = 0;

// ---- what comes ----

function heard(message) {
  if (message.type === "metrics_update") newest = message;
  else if (message.type === "alerts") alerts.show(message.alerts);
}

function paint() {
  if (view.paused || document.hidden) return;
  if (newest !== null) health.hear(newest.system);
  health.show(state, alerts.firing);
  if (newest === null) return;
  tiles.show(newest);
  const wasShown = trading.isShown;
  trading.show(newest);
  newest = null;
  if (trading.isShown && !wasShown)
    for (const question of [() => trading.load(), () => trading.refresh()]) attempt(question);
}

/** Nobody looks, or nobody answers. */
function isIdle() {
  return view.paused || document.hidden || state.name === "lost" || state.name === "login";
}

// ---- what has become of the connection ----

function told(now) {
  const before = state;
  state = now;
  if (now.name === "lost" && before.name !== "lost") interruptions += 1;
  if (now.name === "lost") gone = true;
  catchUp();
  showConnection();
}

/** What was missed is in the history, and is asked for as soon as somebody looks. */
function catchUp() {
  if (!gone || state.name !== "live" || isIdle()) return;
  gone = false;
  load();
}

function showConnection() {
  const element = $("connection");
  const { name, missed, gap, why } = state;
  const shown = view.paused && (name === "live" || name === "stale") ? "paused" : name;
  element.dataset.state = shown === "stale" || shown === "login" ? "lost" : shown;
  const again = gap !== null && interruptions ? `, again after ${duration(gap).join(" ")}` : "";
  say(
    element.querySelector(".said"),
    {
      connecting: "Connecting",
      live: `Live${again}`,
      paused: "Paused",
      stale: why || "No new figures: is there a reader?",
      lost: "Connection lost, reconnecting",
      login: "The session is over",
    }[shown],
  );
  if (name === "login") element.append(make("a", { href: `/login?next=/`, class: "login" }, "Log in"));
  else element.querySelector(".login")?.remove();
  const lost = missed ? `, ${count(missed)} updates missed` : "";
  say(
    $("about"),
    `${about}${interruptions ? `; ${count(interruptions)} interruption${interruptions > 1 ? "s" : ""}${lost}` : lost}`,
  );
  document.title =
    `${{ live: "", paused: "⏸ ", connecting: "… " }[shown] ?? "⚠ "}${api.namespace ?? ""} shmtelemetry`.trim();
}

/** Seen, not said: a screen reader would have to hear every second of it. */
function countDown() {
  const { name, retryAt } = state;
  const seconds = name === "lost" ? Math.ceil((retryAt - Date.now()) / 1000) : 0;
  say($("connection").querySelector(".count"), seconds > 0 ? `in ${seconds} s` : "");
}

function log() {
  if (state.name === "live") connection.restart(); // which finds out, and says so
}

// ---- what is looked at ----

function changed(what) {
  if (what === "window") load();
  else {
    showConnection();
    if (view.paused) gone = true;
    catchUp();
  }
}

function seen() {
  if (document.hidden) gone = true;
  catchUp();
}

/** All that is drawn over time, anew. */
function load() {
  for (const question of [
    () => tiles.load(),
    () => latency.refresh(),
    () => trading.load(),
    () => trading.refresh(),
    () => series.refresh(),
    () => producers.refresh(),
    () => health.refresh(),
  ])
    attempt(question);
}

async function offer() {
  latency.offer((await api.get("/api/metrics/series", { kind: "histogram", limit: 200 })).series);
}

function chooseNamespace(namespace) {
  api.namespace = namespace;
  view.show(namespace);
  latency.chosen = null;
  alerts.restart();
  health.restart();
  trading.restart();
  connection.restart();
  attempt(offer).then(load);
}

const ask = (milliseconds, question, panel = null) =>
  every(milliseconds, () => !isIdle(), question, panel && $(panel));

let about = "shmtelemetry";

async function begin() {
  const info = await api.get("/");
  about = `${info.service} ${info.version}`;
  $("logout").hidden = !info.login;
  const { namespaces } = info;
  const namespace = namespaces.includes(view.namespace) ? view.namespace : namespaces[0];
  const select = $("namespace");
  select.append(...namespaces.map((name) => make("option", {}, name)));
  select.value = namespace;
  select.closest("label").hidden = namespaces.length < 2;
  say($("only"), namespaces.length < 2 ? namespace : "");
  select.addEventListener("change", () => chooseNamespace(select.value));
  api.namespace = namespace;
  connection.open();
  await attempt(offer);
  load();
}

view.key("/", "Filter series", () => $("filter").focus());
view.key("a", "Go to the alerts", () => alerts.focus());
setInterval(paint, PAINT);
setInterval(countDown, PAINT);
ask(ASK, () => producers.refresh(), "producers");
ask(ASK, () => latency.refresh()); // seen or not: the heat map has but what was asked for in time
ask(ASK, () => series.refresh(), "series");
ask(ASK, () => trading.refresh(), "trading");
ask(5_000, () => health.refresh());
ask(60_000, offer);
document.addEventListener("visibilitychange", seen);
setInterval(() => view.paused || alerts.tick(), 5_000);

/** The first answer may take as long as the service takes to start. */
async function start() {
  try {
    await begin();
  } catch (error) {
    if (error.status === 401) return told({ ...state, name: "login" });
    setTimeout(start, 1_000);
  }
}
start();
