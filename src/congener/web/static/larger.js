// The larger picture: what the image's own page says, in a dialog over the answer.
import { complain, element, role, roles, root } from "./api.js";
import { dismiss, draw } from "./why.js";

let at = null; // the id of the hit that is shown

export const isOpen = () => role("larger").open;
const hitOf = (id) => document.querySelector(`[data-role=hit][data-id="${id}"]`);

export async function open(id) {
  at = id;
  try {
    const answer = await fetch(`${root}/images/${id}`, { headers: { accept: "text/html" } });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const specimen = role("specimen", page);
    if (!specimen) throw new Error(role("detail", page)?.textContent ?? `The server answered ${answer.status}.`);
    if (at !== id) return; // another was asked for meanwhile
    dismiss();
    role("larger-body").replaceChildren(document.importNode(specimen, true));
    if (!isOpen()) role("larger").showModal();
    role("previous").disabled = !beside(-1);
    role("next").disabled = !beside(1);
    if (hitOf(id)) explained(id);
  } catch (error) {
    complain(error);
  }
}

// Over an answer, a button that shows why, here in large.
function explained(id) {
  const button = element("button", { type: "button", class: "button", "data-role": "why-larger", "aria-pressed": "false" }, "Why");
  role("larger-body").querySelector(".actions").append(button);
  const panel = element("div", { class: "why" }, element("div", { class: "why-picture" }), element("p", { class: "why-text", "aria-live": "polite" }));
  panel.hidden = true;
  role("larger-body").querySelector(".facts").append(panel);
  button.addEventListener("click", () => {
    const picture = role("larger-body").querySelector(".mat img");
    if (button.getAttribute("aria-pressed") === "true") dismiss();
    else draw({ hit: hitOf(id), picture, panel, button });
  });
}

function beside(step) {
  const ids = roles("hit").map((hit) => hit.dataset.id);
  return ids[ids.indexOf(String(at)) + step];
}

export function turn(step) {
  const id = beside(step);
  if (id) open(id);
}

export function start() {
  const dialog = role("larger");
  role("previous").addEventListener("click", () => turn(-1));
  role("next").addEventListener("click", () => turn(1));
  role("close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  dialog.addEventListener("close", () => {
    role("larger-body").replaceChildren();
    dismiss();
    hitOf(at)?.querySelector("[data-role=open]").focus();
  });
  document.addEventListener("click", (event) => {
    const link = event.target.closest?.("a[data-role=open], a[data-role=target-facts]");
    if (!link || event.button || event.metaKey || event.ctrlKey || event.shiftKey) return;
    event.preventDefault();
    open(link.href.slice(link.href.lastIndexOf("/") + 1));
  });
}
