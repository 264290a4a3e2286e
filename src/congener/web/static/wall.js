// The wall grows as one scrolls, and pages far away are emptied: the document stays small at any number of images.
import { ask, clean, complain, element, role, roles, root } from "./api.js";

const NEAR = 3; // pages kept on either side of those in sight
const kept = new Map(); // page's element -> its tiles, while it is empty

export function mount() {
  const wall = role("wall");
  if (!wall) return;
  const more = role("more", wall);
  const seen = new Set();
  comeBack(wall);
  wall.addEventListener("click", leave);
  const watch = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      if (isIntersecting) seen.add(target);
      else seen.delete(target);
    }
    if (seen.size) settle(wall, seen);
  });
  roles("page", wall).forEach((page) => watch.observe(page));
  if (!more) return;
  const grow = growing(wall, more, (page) => watch.observe(page), lookAgain);
  const near = new IntersectionObserver((entries) => entries.some((each) => each.isIntersecting) && grow(), {
    rootMargin: "3000px",
  });
  // What is observed anew is told of; else it is only when a frame has shown it otherwise meanwhile, and a quick scroll leaves none.
  function lookAgain() {
    near.unobserve(more);
    near.observe(more);
  }
  near.observe(more);
  more.addEventListener("click", (event) => {
    event.preventDefault();
    grow();
  });
}

function growing(wall, more, added, done) {
  let busy = false;
  let next = Number(wall.dataset.page) + 1;
  return async function grow() {
    if (busy) return;
    busy = true;
    try {
      const words = new URLSearchParams({ page: next, ...(wall.dataset.label && { label: wall.dataset.label }) });
      const page = await ask(`${root}/api/images?${words}`);
      const sheet = element("ol", { class: "sheet", "data-role": "page", "data-page": page.page }, ...page.images.map(tile));
      sheet.start = 1 + (page.page - 1) * page.size;
      more.parentElement.before(sheet);
      added(sheet);
      document.dispatchEvent(new CustomEvent("congener:grown"));
      next += 1;
      if (next > page.pages) more.parentElement.remove();
      else more.href = `${root}/?${new URLSearchParams({ ...Object.fromEntries(words), page: next })}`;
    } catch (error) {
      complain(error);
    } finally {
      busy = false;
    }
    if (more.isConnected) done();
  };
}

function tile({ id, path, label_name }) {
  const file = path.slice(path.lastIndexOf("/") + 1);
  const name = clean(label_name ?? file);
  const picture = element("img", { alt: name, loading: "lazy", decoding: "async", width: 320, height: 320 });
  picture.src = `${root}/api/images/${id}/thumbnail?size=320`;
  const [first, ...rest] = name.split(", ");
  const also = rest.length ? [element("span", { class: "also" }, `, ${rest.join(", ")}`)] : [];
  const caption = element("span", { class: "caption", "aria-hidden": "true" }, element("bdi", {}, first, ...also));
  const link = { href: `${root}/search?id=${id}`, "data-role": "tile", "data-id": id, title: clean(path), tabindex: -1 };
  return element("li", { class: "tile" }, element("a", link, element("span", { class: "frame" }, picture), caption));
}

// Whoever goes back to the wall finds it where it was left, at the picture that was asked with.
function leave({ target }) {
  const link = target.closest("[data-role=tile]");
  if (!link) return;
  const address = new URL(location.href);
  const { page } = link.closest("[data-role=page]").dataset;
  if (page !== "1") address.searchParams.set("page", page);
  else address.searchParams.delete("page");
  history.replaceState({ tile: link.dataset.id, top: link.getBoundingClientRect().top }, "", address);
}

function comeBack(wall) {
  const { tile: id, top } = history.state ?? {};
  const link = id && wall.querySelector(`[data-role=tile][data-id="${id}"]`);
  if (!link) return;
  history.scrollRestoration = "manual";
  link.focus({ preventScroll: true });
  scrollBy(0, link.getBoundingClientRect().top - top);
}

// Empty what is far from the pages in sight, refill what is near, and note in the address where one is.
function settle(wall, seen) {
  const numbers = [...seen].map((page) => Number(page.dataset.page));
  const [first, last] = [Math.min(...numbers), Math.max(...numbers)];
  for (const page of roles("page", wall)) {
    const number = Number(page.dataset.page);
    const near = number >= first - NEAR && number <= last + NEAR;
    if (near && kept.has(page)) {
      page.append(...kept.get(page));
      kept.delete(page);
    } else if (!near && !kept.has(page) && number < Number(wall.dataset.pages) && !page.contains(document.activeElement)) {
      kept.set(page, [...page.children]);
      page.replaceChildren();
    }
  }
  const address = new URL(location.href);
  if (first === 1) address.searchParams.delete("page");
  else address.searchParams.set("page", first);
  if (address.href !== location.href) history.replaceState(history.state, "", address);
}
