// Asking with a picture: choose it, drop it anywhere, or paste it.
import { ask, complain, role, root, say, settle } from "./api.js";

async function send(file) {
  if (!file) return complain(new Error("That is no file: drop or paste a picture."));
  settle();
  say(`Sending ${file.name}`);
  document.documentElement.classList.add("sending");
  const form = new FormData();
  form.append("image", file, file.name);
  try {
    const { upload } = await ask(`${root}/api/uploads`, { method: "POST", body: form });
    location.assign(`${root}/search?upload=${encodeURIComponent(upload)}`);
  } catch (error) {
    complain(new Error(`${file.name}: ${error.message}`));
  } finally {
    document.documentElement.classList.remove("sending");
  }
}

const picture = (data) => [...data.files].find((file) => file.type.startsWith("image/")) ?? data.files[0];

export function start() {
  const input = role("file");
  input.addEventListener("change", () => {
    if (input.files.length) send(input.files[0]);
    input.value = ""; // the same file may be chosen again
  });

  addEventListener("paste", (event) => {
    if (!event.clipboardData.files.length) return; // text goes where text goes
    event.preventDefault();
    send(picture(event.clipboardData));
  });

  // A picture of the page itself that is dragged is no question.
  let own = false;
  let depth = 0;
  const show = (on) => (role("drop-here").hidden = !on);
  const foreign = (event) => !own && event.dataTransfer.types.includes("Files");
  addEventListener("dragstart", () => (own = true));
  addEventListener("dragend", () => (own = false));
  addEventListener("dragenter", (event) => foreign(event) && show(++depth > 0));
  addEventListener("dragleave", (event) => foreign(event) && show(--depth > 0));
  addEventListener("dragover", (event) => foreign(event) && event.preventDefault());
  addEventListener("drop", (event) => {
    if (!foreign(event)) return;
    event.preventDefault();
    depth = 0;
    show(false);
    send(picture(event.dataTransfer));
  });
}
