// The answer's settings: each change asks anew, and the address holds it.
import { role } from "./api.js";
import { go } from "./go.js";

export function mount() {
  const form = role("settings");
  if (!form) return;
  const least = role("min-score", form);
  least.addEventListener("input", () => {
    role("min-score-text", form).textContent = Math.round(100 * least.value);
  });
  form.addEventListener("change", () => submit(form));
  floatUndo(role("undo"));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    submit(form);
  });
}

// Where Undo has scrolled away, as it does on a phone, a second one floats.
let watch = null;
function floatUndo(undo) {
  const second = role("undo-float");
  watch?.disconnect();
  second.hidden = true;
  if (!undo) return;
  role("undo-again").href = undo.href;
  watch = new IntersectionObserver(([{ isIntersecting }]) => (second.hidden = isIntersecting));
  watch.observe(undo);
}

// As the browser would send it, without what says nothing.
function submit(form) {
  if (!form.reportValidity()) return;
  const said = [...new FormData(form)].filter(([name, value]) => value !== "" && !(name === "min_score" && Number(value) === 0));
  const address = `${form.getAttribute("action")}?${new URLSearchParams(said)}`;
  if (address !== location.pathname + location.search) go(address);
}
