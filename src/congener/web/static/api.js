// Asking the server, and saying to people what came of it.

/** What all addresses of the page begin with: nothing, or the path below which a proxy shows it. */
export const root = new URL("..", import.meta.url).pathname.replace(/\/$/, "");

/** Text from files as it may be shown: control characters and lone surrogates become �. */
export const clean = (text) => String(text).replace(/[\p{Cc}\p{Cs}]/gu, "�");

export const role = (name, within = document) => within.querySelector(`[data-role="${name}"]`);
export const roles = (name, within = document) => [...within.querySelectorAll(`[data-role="${name}"]`)];

/** Make an element; text and attributes are never read as markup. */
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children.map((child) => (typeof child === "string" ? clean(child) : child)));
  return made;
}

/** Return the answer's JSON; throw an Error that holds the problem's detail. */
export async function ask(address, options = {}) {
  let answer;
  try {
    answer = await fetch(address, { priority: "high", headers: { accept: "application/json" }, ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("The server can't be reached: is it still running?");
  }
  const said = await answer.json().catch(() => null);
  if (!answer.ok) throw new Error(said?.detail ?? said?.title ?? `The server answered ${answer.status}.`);
  return said;
}

/** Say something in passing to those who listen to the page. */
export function say(text) {
  role("status").textContent = clean(text);
}

/** Show what went wrong until it is put away or something else succeeds. */
export function complain(error) {
  if (error?.name === "AbortError") return;
  const close = element("button", { type: "button", class: "button small" }, "Close");
  close.addEventListener("click", settle);
  role("problem").replaceChildren(clean(error?.message ?? error), close);
}

export function settle() {
  role("problem").replaceChildren();
}
