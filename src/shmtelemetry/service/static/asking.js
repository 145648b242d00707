// Questions that are asked again and again.

import { Unanswered } from "./api.js";

const inView = new Set();
const watcher = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) inView[isIntersecting ? "add" : "delete"](target);
});

/** What is not answered is asked again later: the connection says what is wrong. */
export async function attempt(question) {
  try {
    await question();
  } catch (error) {
    if (!(error instanceof Unanswered)) reportError(error); // a mistake of ours: it is seen, and stops nothing
  }
}

/** Ask now and then while one may, never twice at once, and not for a panel that nobody sees. */
export function every(milliseconds, may, question, panel = null) {
  if (panel !== null) watcher.observe(panel);
  let asking = false;
  setInterval(async () => {
    if (asking || !may() || (panel !== null && !inView.has(panel))) return;
    asking = true;
    try {
      await attempt(question);
    } finally {
      asking = false;
    }
  }, milliseconds);
}
