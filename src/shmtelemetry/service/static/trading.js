// Trading, where there is any: symbols, accounts and orders.

import { Accounts } from "./accounts.js";
import { $ } from "./dom.js";
import { Orders } from "./orders.js";
import { Symbols } from "./symbols.js";

export class Trading {
  #symbols;
  #accounts;
  #orders;

  constructor(api, view) {
    this.#symbols = new Symbols(api, view);
    this.#accounts = new Accounts(api, view);
    this.#orders = new Orders(api, view);
  }

  /** The figures of another namespace. */
  restart() {
    for (const part of [this.#symbols, this.#accounts, this.#orders]) part.restart();
    $("trading").hidden = true;
  }

  get isShown() {
    return !$("trading").hidden;
  }

  show({ timestamp, market_data: market = {}, strategy = {}, execution = {} }) {
    $("trading").hidden = !Object.keys(market).length && !execution.trades && strategy.total_pnl == null;
    if (!this.isShown) return;
    const now = Date.parse(timestamp) / 1e3;
    this.#symbols.show(now, market);
    this.#accounts.show(now, strategy);
    this.#orders.show(now, execution);
  }

  /** What was before this page was there. */
  async load() {
    if (this.isShown) await Promise.all([this.#symbols.load(), this.#accounts.load(), this.#orders.load()]);
  }

  /** What is not in the updates. */
  async refresh() {
    if (this.isShown) await Promise.all([this.#accounts.refresh(), this.#orders.refresh()]);
  }
}
