// From one answer to the next without losing the place: the new page's main part replaces the old one's.
import { complain, role, roles, root, say, settle } from "./api.js";

let under = null; // the way to the answer that is awaited
let shown = location.pathname + location.search;

/** Show an address of /search; what was on its way is dropped. `by`: what was pressed. */
export function go(address, { push = true, by = document.activeElement } = {}) {
  const wanted = new URL(address, location.href).href;
  if (under?.address === wanted) return under.done; // a form's change and its sending say the same
  under?.abort.abort();
  under = { address: wanted, abort: new AbortController() };
  under.done = travel(under, push, by);
  return under.done;
}

let turn = Promise.resolve();

/** Act once no answer is on its way: a second thumb adds to the first, also when it comes before the first's answer. */
export function inTurn(act) {
  turn = turn.then(() => under?.done).then(act);
}

async function travel(way, push, by) {
  const { address } = way;
  const { signal } = way.abort;
  document.querySelector("main").setAttribute("aria-busy", "true");
  try {
    const answer = await fetch(address, { signal, headers: { accept: "text/html" } });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (!answer.ok) throw new Error(role("detail", page)?.textContent ?? `The server answered ${answer.status}.`);
    if (!role("answer", page) || !role("answer")) return void location.assign(address);
    settle();
    await move(page, () => {
      if (signal.aborted) return false; // overtaken while the browser got ready
      if (push) history.pushState(null, "", address); // together with what it names, so that no key acts on the old one
      shown = location.pathname + location.search;
      return placeOf(by) ?? placeOf(document.activeElement);
    });
  } catch (error) {
    complain(error);
  } finally {
    if (under === way) {
      under = null;
      document.querySelector("main").removeAttribute("aria-busy");
    }
  }
}

// Where one is on the page, so as to be there again on the next: which hit, or which control.
function placeOf(element) {
  if (!element?.closest("main")) return null;
  const { id, rank } = element.closest("[data-role=hit]")?.dataset ?? {};
  return { id, rank, control: element.closest("[data-role]")?.dataset.role };
}

async function move(page, arrive) {
  const put = () => {
    const place = arrive();
    if (place === false) return;
    const next = document.importNode(page.querySelector("main"), true);
    document.querySelector("main").replaceWith(next);
    document.title = page.title;
    name(next);
    document.dispatchEvent(new CustomEvent("congener:shown", { detail: place }));
  };
  say(role("count", page).textContent);
  if (!document.startViewTransition || matchMedia("(prefers-reduced-motion: reduce)").matches) return put();
  name(document);
  const transition = document.startViewTransition(put);
  transition.ready.catch(() => {}); // skipped, as when the window is hidden: the page is there all the same
  transition.finished.finally(() => roles("hit").forEach((hit) => hit.style.removeProperty("view-transition-name"))).catch(() => {});
  return transition.updateCallbackDone;
}

// A named hit glides from its old rank to its new one; those out of sight needn't.
function name(main) {
  for (const hit of roles("hit", main)) {
    const { top, bottom } = hit.getBoundingClientRect();
    const near = bottom > 0 && top < innerHeight;
    hit.style.viewTransitionName = near ? `hit-${hit.dataset.id}` : "none";
  }
}

document.addEventListener("click", (event) => {
  let link = event.target.closest?.("a[data-swap]");
  if (!link || event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey) return;
  event.preventDefault();
  const same = sameAs(link);
  inTurn(() => {
    if (!link.isConnected) link = same();
    return link && go(link.href, { by: document.activeElement.closest("[data-role=hit]") ?? link });
  });
});

// Find a link again on the page that has replaced its own.
function sameAs(link) {
  const of = (each) => each.closest("[data-id]")?.dataset.id;
  const id = of(link);
  const name = link.dataset.role;
  return () => name && roles(name).find((each) => of(each) === id);
}

addEventListener("popstate", () => {
  const address = location.pathname + location.search;
  if (address === shown) return;
  if (location.pathname === `${root}/search`) go(location.href, { push: false });
  else location.reload();
});
