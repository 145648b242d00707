// A figure, what it is of, and how it was.

import { spark } from "./charts.js";
import { make, say } from "./dom.js";

export class Tile {
  constructor(host, title, chart = null) {
    this.value = make("span", { class: "figure" });
    this.unit = make("span", { class: "unit" });
    this.note = make("p", { class: "note" });
    this.box = make(
      "div",
      { class: "tile" },
      make("h3", {}, title),
      make("p", { class: "value" }, this.value, this.unit),
      this.note,
    );
    host.append(this.box);
    if (chart !== null) {
      const place = make("div", { class: "chart" });
      this.box.append(place);
      this.plot = spark(place, title, chart);
    }
  }

  show([value, unit], note, level = "") {
    say(this.value, value);
    say(this.unit, unit);
    say(this.note, note);
    this.note.title = note;
    this.box.dataset.level = level;
  }
}
