// How far the indexing is, as the server tells; and an offer to show what is new, never a change under the hand.
import { clean, role, root } from "./api.js";

const READ = "congener-read";
const count = (number) => number.toLocaleString("en");

export function start() {
  const box = role("progress");
  let shown = document.body.dataset.images; // an error's page doesn't know
  const [text, bar, fresh] = [role("progress-text"), box.querySelector("progress"), role("fresh")];
  fresh.href = location.pathname + location.search;
  fresh.addEventListener("click", (event) => {
    event.preventDefault();
    location.reload();
  });
  const close = role("progress-close");
  let read = sessionStorage.getItem(READ); // what was put away stays away
  close.addEventListener("click", () => {
    read = text.textContent;
    sessionStorage.setItem(READ, read);
    text.textContent = "";
    close.hidden = true;
    box.hidden = fresh.hidden;
  });
  const tell = ({ data }) => {
    const { state, done, total, images, message } = JSON.parse(data);
    const indexing = state === "indexing";
    bar.hidden = !indexing;
    bar.max = total || 1;
    bar.value = done;
    const so = total ? `: ${count(done)} of ${count(total)}` : ""; // at first, the folder is looked through
    text.textContent = indexing ? `Indexing${so}` : message === read ? "" : clean(message);
    close.hidden = indexing || !text.textContent;
    shown ||= images;
    const more = images - Number(shown);
    fresh.hidden = more === 0;
    fresh.textContent = more > 0 ? `${count(more)} new ${more === 1 ? "image" : "images"}: show` : "The gallery has changed: show";
    box.hidden = fresh.hidden && !text.textContent;
  };
  let source = null;
  const listen = () => {
    source = new EventSource(`${root}/events`);
    source.addEventListener("progress", tell);
  };
  listen();
  // An open connection would keep the browser from keeping the page for its back button.
  addEventListener("pagehide", () => source.close());
  addEventListener("pageshow", ({ persisted }) => persisted && listen());
}
