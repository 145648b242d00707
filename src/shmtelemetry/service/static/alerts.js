// Alerts that fire, and who knows of them.

import { $, make, say } from "./dom.js";
import { ago, labelText } from "./format.js";

export class Alerts {
  #api;
  firing = [];
  #items = new Map();
  #known = null;
  #asked = null;

  constructor(api) {
    this.#api = api;
    const dialog = $("acknowledge");
    const form = dialog.querySelector("form");
    form.elements.who.value = localStorage.getItem("who") ?? "";
    form.addEventListener("submit", (event) => {
      if (event.submitter?.value !== "do") return;
      event.preventDefault();
      this.#acknowledge(dialog, form);
    });
    this.show([]);
  }

  /** Another namespace: what fires there is no news. */
  restart() {
    this.#known = null;
    this.show([]);
    this.#known = null;
  }

  show(alerts) {
    this.firing = alerts;
    const order = { P0: 0, P1: 1, P2: 2 };
    const sorted = alerts.toSorted(
      (one, other) => (order[one.severity] ?? 9) - (order[other.severity] ?? 9) || other.id - one.id,
    );
    const items = sorted.map((alert) => this.#item(alert));
    for (const [id, item] of this.#items)
      if (!alerts.some((alert) => alert.id === id)) (item.remove(), this.#items.delete(id));
    const list = $("alerts");
    if (!items.length) list.replaceChildren(make("li", { class: "empty" }, make("p", {}, "Nothing fires.")));
    else {
      list.querySelector(".empty")?.remove();
      items.forEach((item, at) => list.children[at] === item || list.insertBefore(item, list.children[at] ?? null));
    }
    const open = alerts.filter((alert) => !isKnown(alert)).length;
    say($("alerts-summary"), alerts.length ? `${alerts.length} firing, ${open} not acknowledged` : "");
    this.#announce(alerts);
  }

  /** Times go on. */
  tick() {
    for (const alert of this.firing) this.#item(alert);
  }

  focus() {
    ($("alerts").querySelector("button") ?? $("h-alerts")).focus();
  }

  #announce(alerts) {
    const news = alerts.filter((alert) => this.#known !== null && !this.#known.has(alert.id));
    if (news.length)
      say(
        $("alerts-announced"),
        `Alert ${news.map((alert) => `${alert.severity} ${alert.name}: ${alert.summary}`).join("; ")}`,
      );
    this.#known = new Set(alerts.map((alert) => alert.id));
  }

  #item(alert) {
    let item = this.#items.get(alert.id);
    if (!item) {
      const button = make("button", { onclick: () => this.#ask(item.alert) }, "Acknowledge");
      item = make(
        "li",
        { "data-severity": alert.severity, "data-alert": alert.id },
        make("span", { class: "severity" }, alert.severity),
        make(
          "div",
          {},
          make("p", {}, make("strong", {}, alert.name), " ", make("span", { class: "quiet age" })),
          make("p", { class: "summary" }),
          make("p", { class: "quiet of" }),
          make("p", { class: "runbook" }),
          make("p", { class: "known" }),
        ),
        button,
      );
      this.#items.set(alert.id, item);
    }
    item.alert = alert;
    const since = alert.fired ?? alert.since;
    say(item.querySelector(".age"), `for ${ago(since)}`);
    item.querySelector(".age").title = `since ${new Date(since).toLocaleString("en-GB")}`;
    say(item.querySelector(".summary"), alert.summary);
    const of = labelText(labelsOf(alert));
    say(item.querySelector(".of"), of);
    tellRunbook(item.querySelector(".runbook"), alert.runbook);
    const known = isKnown(alert) ? alert.acknowledged : null;
    say(item.querySelector(".known"), known ? `${known.by} knows of it${known.note ? `: ${known.note}` : ""}` : "");
    const button = item.querySelector("button");
    button.hidden = known !== null;
    button.setAttribute("aria-label", `Acknowledge ${alert.name} ${of}`.trim());
    return item;
  }

  #ask(alert) {
    this.#asked = alert;
    const dialog = $("acknowledge");
    const of = labelText(labelsOf(alert));
    say($("acknowledge-what"), `${alert.name}${of ? ` (${of})` : ""}: ${alert.summary}`);
    say(dialog.querySelector(".complaint"), "");
    dialog.querySelector("form").elements.note.value = "";
    dialog.showModal();
  }

  async #acknowledge(dialog, form) {
    const { who, note, until } = form.elements;
    const body = { who: who.value.trim(), note: note.value.trim() };
    if (until.value) body.until = new Date(Date.now() + until.value * 1000).toISOString();
    try {
      const done = await this.#api.post(`/api/system/alerts/acknowledge/${this.#asked.id}`, body);
      localStorage.setItem("who", body.who);
      this.show(this.firing.map((alert) => (alert.id === done.id ? done : alert)));
      dialog.close();
    } catch (error) {
      say(dialog.querySelector(".complaint"), error.message);
    }
  }
}

/** Those that are not said elsewhere already. */
function labelsOf({ labels }) {
  const { severity, ...others } = labels;
  return others;
}

/** A link where one can be opened; the package's own runbooks are pages of this service. */
function tellRunbook(place, runbook) {
  if (place.dataset.of === runbook) return;
  place.dataset.of = runbook;
  const isOwn = runbook.startsWith("/runbooks/");
  const isLink = isOwn || (URL.canParse(runbook) && /^https?:$/.test(new URL(runbook).protocol));
  const link = () => make("a", { href: runbook, target: "_blank", rel: "noopener noreferrer" }, "Runbook");
  place.replaceChildren(...(!runbook ? [] : isLink ? [link()] : [`Runbook: ${runbook}`]));
}

function isKnown({ acknowledged }) {
  return acknowledged !== null && (acknowledged.until === null || Date.parse(acknowledged.until) > Date.now());
}
