// Narrow the list of labels while typing; what the page doesn't hold is found by the server, on Enter.
import { clean, role, roles } from "./api.js";

export function mount() {
  const form = role("find-label");
  if (!form) return;
  const field = role("label-filter", form);
  const all = roles("label").map((link) => [link.parentElement, link.firstElementChild.textContent.toLocaleLowerCase()]);
  const narrow = () => {
    const typed = field.value.trim().toLocaleLowerCase();
    let left = 0;
    for (const [row, name] of all) {
      row.hidden = !name.includes(typed);
      left += !row.hidden;
    }
    role("no-label").hidden = left > 0;
    role("typed").textContent = clean(field.value);
  };
  field.addEventListener("input", narrow);
  if (field.value !== field.defaultValue) narrow(); // typed before this ran, or kept by the browser on the way back
  form.addEventListener("submit", (event) => {
    const rows = all.filter(([row]) => !row.hidden);
    if (Number(field.dataset.more) || rows.length !== 1) return field.dataset.more === "0" && event.preventDefault();
    event.preventDefault();
    rows[0][0].querySelector("a").click();
  });
  document.querySelector(".labels [aria-current]")?.scrollIntoView({ block: "nearest" });
}
