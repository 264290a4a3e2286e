// The list of copies and near copies: shown in parts, since there may be thousands of groups.
import { element, role, root } from "./api.js";
import { task } from "./task.js";

const PART = 50; // groups
const count = (number, one, many) => `${number.toLocaleString("en")} ${number === 1 ? one : many}`;

function size(bytes) {
  const units = ["bytes", "KB", "MB", "GB"];
  const step = Math.min(3, Math.max(0, Math.floor(Math.log10(bytes || 1) / 3)));
  return `${(bytes / 1000 ** step).toLocaleString("en", { maximumFractionDigits: step && bytes / 1000 ** step < 10 ? 1 : 0 })} ${units[step]}`;
}

function member({ id, path, width, height, bytes, distance, link, marked }) {
  const file = path.slice(path.lastIndexOf("/") + 1);
  const picture = element("img", { src: `${root}/api/images/${id}/thumbnail?size=320`, alt: element("i", {}, file).textContent, loading: "lazy", width: 320, height: 320 });
  const open = element("a", { class: "frame", href: `${root}/images/${id}`, "data-role": "open" }, picture);
  const apart = distance > 0 ? `, ${count(distance, "bit", "bits")} apart` : "";
  const what = link ? `, ${link} link` : marked ? ", marked" : "";
  const facts = `${width.toLocaleString("en")} × ${height.toLocaleString("en")}, ${size(bytes)}${apart}${what}`;
  return element("li", { "data-role": "duplicate", "data-id": id }, open, element("bdi", {}, path), element("div", { class: "faint" }, facts));
}

function group({ kind, images }) {
  const files = images.filter((each, place) => !place || !each.link).length;
  const head = kind === "copies" ? `${files} equal files` : `${images.length} near copies`;
  const list = element("ul", {}, ...images.map(member));
  return element("section", { class: "group", "data-role": "group", "data-kind": kind }, element("h2", {}, head), list);
}

function show({ groups, copies, near, bytes, skipped }, state) {
  const found = `${count(copies, "equal file", "equal files")} and ${count(near, "near copy", "near copies")} besides the first of each group, ${size(bytes)} could be saved.`;
  const left = skipped?.length ? ` ${count(skipped.length, "file", "files")} can't be read now.` : "";
  state.textContent = (groups.length ? found : "No duplicates.") + left;
  const place = role("groups");
  place.replaceChildren();
  const rest = [...groups];
  const more = element("button", { type: "button", class: "button", "data-role": "more-groups" }, "More groups");
  const add = () => {
    more.before(...rest.splice(0, PART).map(group));
    more.hidden = !rest.length;
  };
  place.append(more);
  more.addEventListener("click", add);
  add();
}

export function mount() {
  task("duplicates", `${root}/api/duplicates`, show);
}
