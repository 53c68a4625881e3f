// Talks to the server. Addresses are relative to the page, so that it also works below a path of another site.

import { read, remove, write } from "./store.js";

export class ApiError extends Error {
  constructor(status, { code = "error", message = "", hint = "" } = {}) {
    super(message);
    Object.assign(this, { status, code, hint });
  }

  // Whether it may go well in a moment: the server is away, starting or busy.
  get passing() {
    return [0, 429, 503].includes(this.status);
  }
}

// Seconds until a server that says nothing counts as away: a line may go dead without a word.
const PATIENCE = 15;
export const EXPLAINED = 120; // the model is asked once for every stroke or part of the picture

async function call(path, { seconds = PATIENCE, ...options } = {}) {
  let response;
  let body;
  try {
    response = await fetch(new URL(path, document.baseURI), { ...options, signal: AbortSignal.timeout(1000 * seconds) });
    body = await response.json();
  } catch {
    // Half an answer is none; of a refusal the number is enough.
    if (!response || response.ok) throw new ApiError(0, { code: "offline" });
  }
  if (!response.ok) throw new ApiError(response.status, body?.error);
  return body;
}

export const get = (path) => call(path);

export const post = (path, body, { seconds } = {}) =>
  call(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body), seconds });

export const pause = (milliseconds = 1000) => new Promise((resolve) => setTimeout(resolve, milliseconds));

// Asks until there is an answer, ever less often: what was drawn or chosen must not be lost because the server was away
// for a moment. failed(error) hears of each time; once gone() is true, the error is thrown.
export async function persist(ask, { gone, failed }) {
  for (let wait = 500; ; wait = Math.min(5000, 2 * wait)) {
    try {
      return await ask();
    } catch (error) {
      if (!error.passing || gone()) throw error;
      failed(error);
    }
    await pause(wait);
  }
}

// The same, for those who hold an admin token. It is typed once and kept until the tab is closed.
const TOKEN = "inksight.token";

export const admin = {
  get token() {
    return read("sessionStorage", TOKEN);
  },
  remember: (token) => write("sessionStorage", TOKEN, token),
  forget: () => remove("sessionStorage", TOKEN),
  get: (path) => asAdmin(path),
  // A version that is promoted is loaded and tried first.
  post: (path, body) =>
    asAdmin(path, { method: "POST", seconds: 120, headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) }),
};

// A token that is not known is forgotten; one that only does not allow this (403) is good elsewhere.
async function asAdmin(path, options = {}) {
  try {
    return await call(path, { ...options, headers: { ...options.headers, Authorization: `Bearer ${admin.token}` } });
  } catch (error) {
    if (error.status === 401) admin.forget();
    throw error;
  }
}
