// The keyboard: arrows over the pictures, and a key for each thing that one does with them.
import { role, roles } from "./api.js";
import { inTurn } from "./go.js";
import { isOpen, turn } from "./larger.js";
import { dismiss, explain } from "./why.js";

const links = () => [...document.querySelectorAll("[data-role=tile], [data-role=hit] [data-role=open]")];
const arrows = { ArrowLeft: "left", ArrowRight: "right", ArrowUp: "up", ArrowDown: "down" };

/** One picture takes part in the order of Tab, with its buttons; the arrows go to the others. */
export function rove(current = links()[0]) {
  for (const link of links()) {
    const order = link === current ? 0 : -1;
    link.tabIndex = order;
    link.closest("[data-role=hit]")?.querySelectorAll(".thumb").forEach((each) => (each.tabIndex = order));
  }
}

/** After an answer was replaced: be on the hit one was on, else on what took its place; or on the same control. */
export function mount(place) {
  rove();
  if (!place) return;
  const { id, rank, control } = place;
  const hit = id && (document.querySelector(`[data-role=hit][data-id="${id}"]`) ?? roles("hit")[rank - 1] ?? roles("hit")[0]);
  const on = hit ? role("open", hit) : role(control);
  (on?.checkVisibility() ? on : document.querySelector("main")).focus({ preventScroll: true });
}

// In a grid, up and down go to the picture whose middle is nearest to straight above or below.
function step(from, way) {
  const all = links();
  const place = all.indexOf(from);
  if (way === "left" || way === "right") return all[place + (way === "left" ? -1 : 1)];
  const here = from.getBoundingClientRect();
  const ahead = way === "down" ? all.slice(place + 1) : all.slice(0, place).reverse();
  const row = ahead.find((each) => Math.abs(each.getBoundingClientRect().top - here.top) > here.height / 2);
  if (!row) return undefined;
  const top = row.getBoundingClientRect().top;
  const inRow = ahead.filter((each) => Math.abs(each.getBoundingClientRect().top - top) < here.height / 2);
  const off = (each) => Math.abs(each.getBoundingClientRect().left - here.left);
  return inRow.reduce((best, each) => (off(each) < off(best) ? each : best));
}

function arrow(event, way) {
  if (isOpen()) return void (way === "left" ? turn(-1) : way === "right" ? turn(1) : null);
  const on = document.activeElement;
  const from = links().find((each) => each === on || each.closest("[data-role=hit]")?.contains(on));
  if (!from && on !== document.body && on?.id !== "main") return;
  const to = from ? step(from, way) : links()[0];
  if (!to) return;
  event.preventDefault();
  to.focus();
}

const hitInHand = () => document.activeElement.closest("[data-role=hit]") ?? document.querySelector("[data-role=hit]:hover");

const keys = {
  "/": () => role("label-filter")?.focus(),
  "?": () => role("keys").showModal(),
  b: () => role("box-start")?.click(),
  n: () => hitInHand()?.querySelector("[data-role=thumb-down]").click(),
  u: () => inTurn(() => role("undo")?.click()),
  w: () => (isOpen() ? role("why-larger")?.click() : explain(hitInHand())),
  y: () => hitInHand()?.querySelector("[data-role=thumb-up]").click(),
};

export function start() {
  role("show-keys").addEventListener("click", keys["?"]);
  document.addEventListener("focusin", ({ target }) => links().includes(target) && rove(target));
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") dismiss();
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    if (event.target.closest("input, select, textarea, .grip")) return;
    if (event.key in arrows && !event.shiftKey) return arrow(event, arrows[event.key]);
    if (!(event.key in keys) || (document.querySelector("dialog[open]") && event.key !== "w")) return;
    event.preventDefault();
    keys[event.key]();
  });
}
