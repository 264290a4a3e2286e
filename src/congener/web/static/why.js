// Why a hit is like the target: on hover, by the button, or by a key.
import { ask, complain, element, role, root } from "./api.js";
import { hottest, lay } from "./heat.js";

const DELAY = 350; // ms of resting on a picture; to pass over it asks nothing
const answers = new Map();
let waiting = 0;
let asking = null;
let held = null; // the hit that was asked for by button or key: leaving it with the mouse changes nothing
let drawn = [];
let undo = []; // what else was changed

function question(id) {
  const { id: target, upload } = role("answer").dataset;
  const box = role("target")?.dataset.box;
  const asked = { hit: Number(id), ...(upload ? { upload } : { id: Number(target) }) };
  return box ? { ...asked, box: box.split(",").map(Number) } : asked;
}

async function fetched(id, signal) {
  const body = JSON.stringify(question(id));
  if (!answers.has(body)) {
    const headers = { "content-type": "application/json", accept: "application/json" };
    answers.set(body, await ask(`${root}/api/explain`, { method: "POST", body, headers, signal }));
    if (answers.size > 200) answers.delete(answers.keys().next().value);
  }
  return answers.get(body);
}

function show(hit) {
  return draw({ hit, picture: hit.querySelector("img"), panel: role("why-panel"), button: role("why", hit) });
}

/** Lay the maps over the target and over a picture of the hit; panel: where the rest is said; button: shown as on. */
export async function draw({ hit, picture, panel, button }) {
  clear();
  asking = new AbortController();
  const { signal } = asking;
  try {
    const answer = await fetched(hit.dataset.id, signal);
    if (signal.aborted) return;
    const target = role("target").querySelector("img");
    const small = element("img", { src: target.src, alt: "" });
    panel.firstElementChild.replaceChildren(small);
    panel.querySelector(".why-text").replaceChildren(...words(answer, hit));
    panel.hidden = false;
    button.setAttribute("aria-pressed", "true");
    const most = hottest([answer.query, answer.hit]);
    undo = [() => (panel.hidden = true), () => button.setAttribute("aria-pressed", "false")];
    for (const [side, over] of [[answer.query, target], [answer.hit, picture], [answer.query, small]]) {
      await over.decode();
      if (signal.aborted || !over.isConnected) return;
      if (!over.clientWidth) continue;
      drawn.push(lay(side, over, most));
      over.classList.add("warmed");
      undo.push(() => over.classList.remove("warmed"));
    }
  } catch (error) {
    complain(error);
  }
}

// Shares only where they are shares: a part may be negative, and then the numbers must do.
function words({ score, pooled, classes, query }, hit) {
  const shares = score > 0 && pooled >= 0 && classes >= 0;
  const part = (value) => element("b", {}, shares ? `${Math.round((100 * value) / score)} %` : value.toFixed(3));
  const where = query.kinds ? "shown where it sees them" : "which have no place";
  const text = [part(pooled), " of the score lies in what the places shown look like, ", part(classes), ` in the kinds that the network sees, ${where}.`];
  const alone = role("refined") ? " without yes and no" : ""; // the two pictures are compared, not the refined question
  const whole = element("span", { class: "faint" }, ` ${hit.dataset.name}, raw score${alone} ${score.toFixed(3)}.`);
  return [...text, whole];
}

function clear() {
  clearTimeout(waiting);
  asking?.abort();
  drawn.forEach((canvas) => canvas.remove());
  undo.forEach((each) => each());
  drawn = [];
  undo = [];
}

export function dismiss() {
  held = null;
  clear();
}

/** Show why a hit is there, and keep showing it; asked again, put it away. */
export function explain(hit) {
  if (!hit) return;
  if (held === hit) return dismiss();
  held = hit;
  show(hit);
}

export function start() {
  document.addEventListener("pointerover", ({ target, pointerType }) => {
    const hit = pointerType === "mouse" && target.closest?.("[data-role=hit] .frame")?.closest("[data-role=hit]");
    if (!hit || held) return;
    clearTimeout(waiting);
    waiting = setTimeout(() => show(hit), DELAY);
  });
  document.addEventListener("pointerout", ({ target, relatedTarget, pointerType }) => {
    const frame = pointerType === "mouse" && target.closest?.("[data-role=hit] .frame");
    if (frame && !held && !frame.contains(relatedTarget)) clear();
  });
  document.addEventListener("click", ({ target }) => {
    if (target.closest?.("[data-role=why-close]")) return dismiss();
    const button = target.closest?.("[data-role=why]");
    if (button) explain(button.closest("[data-role=hit]"));
  });
  document.addEventListener("congener:shown", dismiss);
}
