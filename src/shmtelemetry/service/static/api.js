// Questions to the service, of the namespace that is shown.

/** status: of the answer, null where none came. */
export class Unanswered extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

export class Api {
  /** onLogin is called when the service wants the token (again). */
  constructor(onLogin) {
    this.namespace = null;
    this.onLogin = onLogin;
  }

  get(path, query = {}) {
    return this.#ask(path, query, { headers: { Accept: "application/json" } });
  }

  post(path, body) {
    const headers = { Accept: "application/json", "Content-Type": "application/json" };
    return this.#ask(path, {}, { method: "POST", headers, body: JSON.stringify(body) });
  }

  /** The address of the updates. */
  get updates() {
    const url = this.#url("/ws/metrics", {});
    url.protocol = url.protocol.replace("http", "ws");
    return url;
  }

  #url(path, query) {
    const url = new URL(path, location.origin);
    if (this.namespace !== null && path !== "/") url.searchParams.set("namespace", this.namespace);
    for (const [name, value] of Object.entries(query)) {
      if (value !== null && value !== "") url.searchParams.set(name, value);
    }
    return url;
  }

  async #ask(path, query, options) {
    let response;
    try {
      response = await fetch(this.#url(path, query), {
        ...options,
        redirect: "error",
        signal: AbortSignal.timeout(10_000),
      });
      if (response.ok) return await response.json();
    } catch {
      // Refused, too late, or half an answer: every browser says it in words of its own.
      throw new Unanswered(null, "The service does not answer.");
    }
    if (response.status === 401) this.onLogin();
    const problem = await response.json().catch(() => ({}));
    throw new Unanswered(response.status, problem.detail || response.statusText);
  }
}
