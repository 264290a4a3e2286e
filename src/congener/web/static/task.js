// Work that the server does when asked: start it, look how far it is, show what came of it.
import { ask, clean, complain, role } from "./api.js";

const PAUSE = 1000; // ms between two looks

/** address: of the work; show: called with its state once it is done. */
export function task(name, address, show) {
  const section = role(name);
  const button = section && role("start", section);
  if (!button) return;
  const again = button.textContent;
  const look = async (options) => {
    try {
      const now = await ask(address, options);
      const running = now.state === "running";
      button.disabled = running;
      button.textContent = now.state === "done" ? `${again} again` : again;
      role("state", section).textContent = running ? clean(now.message || "Running …") : now.state === "failed" ? clean(`Failed: ${now.message}`) : "";
      if (now.state === "done") show(now, role("state", section));
      if (running) setTimeout(look, PAUSE);
    } catch (error) {
      button.disabled = false;
      complain(error);
    }
  };
  button.addEventListener("click", () => look({ method: "POST" }));
  look();
}
