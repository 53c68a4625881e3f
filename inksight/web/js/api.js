// Talks to the server. Addresses are relative to the page, so that it also works below a path of another site.

export class ApiError extends Error {
  constructor(status, { code = "error", message = "", hint = "" } = {}) {
    super(message);
    Object.assign(this, { status, code, hint });
  }
}

async function call(path, options = {}) {
  let response;
  try {
    response = await fetch(new URL(path, document.baseURI), options);
  } catch {
    throw new ApiError(0, { code: "offline" });
  }
  const body = await response.json().catch(() => ({}));
  if (!response.ok) throw new ApiError(response.status, body.error);
  return body;
}

export const get = (path) => call(path);

export const post = (path, body) =>
  call(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });

// The same, for those who hold an admin token. It is typed once and kept until the tab is closed.
const TOKEN = "inksight.token";

export const admin = {
  get token() {
    return sessionStorage.getItem(TOKEN);
  },
  remember: (token) => sessionStorage.setItem(TOKEN, token),
  forget: () => sessionStorage.removeItem(TOKEN),
  get: (path) => call(path, { headers: { Authorization: `Bearer ${admin.token}` } }),
  post: (path, body) =>
    call(path, {
      method: "POST",
      headers: { "Content-Type": "application/json", Authorization: `Bearer ${admin.token}` },
      body: JSON.stringify(body),
    }),
};
