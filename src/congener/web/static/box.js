// A part of the picture: drawn with a pointer or set with the keys, moved, resized, removed; in pixels of the picture.
import { element, role, say } from "./api.js";
import { go } from "./go.js";

const LEAST = 8; // pixels on the screen: less is a click, no box
const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

export function mount() {
  const target = role("target");
  if (target?.dataset.width) new Part(target); // else the file can't be read
}

class Part {
  constructor(target) {
    this.target = target;
    this.size = [Number(target.dataset.width), Number(target.dataset.height)];
    this.box = target.dataset.box?.split(",").map(Number) ?? null;
    this.grip = element("button", { type: "button", class: "grip", "data-role": "box" });
    for (const corner of ["nw", "ne", "sw", "se"]) this.grip.append(element("i", { "data-corner": corner }));
    target.append(this.grip);
    this.draw();
    target.addEventListener("pointerdown", (event) => this.press(event));
    this.grip.addEventListener("keydown", (event) => this.key(event));
    role("box-start").addEventListener("click", () => this.begin());
  }

  begin() {
    const [width, height] = this.size;
    this.box ??= [width / 4, height / 4, width / 2, height / 2].map(Math.round);
    this.draw();
    this.grip.focus();
    say("Arrows move the box, with Shift they resize it, Enter searches, Delete removes it.");
    role("box-text").textContent = "Arrows move the box, with Shift they resize it, Enter searches, Delete removes it.";
  }

  draw() {
    const part = this.target.querySelector(".part");
    this.grip.hidden = !this.box;
    part.toggleAttribute("hidden", !this.box);
    if (!this.box) return;
    const [[width, height], [x, y, w, h]] = [this.size, this.box];
    part.firstElementChild.setAttribute("d", `M0 0h${width}v${height}H0zM${x} ${y}h${w}v${h}h${-w}z`);
    const share = { left: x / width, top: y / height, width: w / width, height: h / height };
    for (const [side, value] of Object.entries(share)) this.grip.style[side] = `${100 * value}%`;
    const said = `${Math.round(w)} by ${Math.round(h)} pixels, ${Math.round(x)} from the left, ${Math.round(y)} from the top`;
    this.grip.setAttribute("aria-label", `Part of the picture: ${said}. Arrows move, Shift and arrows resize, Enter searches, Delete removes.`);
  }

  // A point of the screen in pixels of the picture.
  point({ clientX, clientY }) {
    const { left, top, width, height } = this.target.getBoundingClientRect();
    return [((clientX - left) / width) * this.size[0], ((clientY - top) / height) * this.size[1]];
  }

  press(event) {
    if (event.button || !event.isPrimary) return;
    event.preventDefault();
    const before = this.box;
    const from = this.point(event);
    const start = [event.clientX, event.clientY];
    const drag = this.dragging(event.target, from);
    let moved = false;
    this.target.setPointerCapture(event.pointerId);
    const stop = new AbortController();
    const on = (name, act) => this.target.addEventListener(name, act, { signal: stop.signal });
    const end = (box) => {
      stop.abort();
      this.box = box;
      this.draw();
    };
    on("pointermove", (now) => {
      moved ||= Math.hypot(now.clientX - start[0], now.clientY - start[1]) >= LEAST;
      if (!moved) return;
      this.box = drag(this.point(now));
      this.draw();
    });
    on("pointercancel", () => end(before));
    on("pointerup", () => {
      const [, , w, h] = moved ? this.box : [0, 0, 0, 0];
      end(w >= 1 && h >= 1 ? this.box : before);
      if (moved && this.box && this.box !== before) this.search();
    });
  }

  // What a drag makes of a point: a corner moved, the box moved, or a new box.
  dragging(on, from) {
    const [width, height] = this.size;
    const [x, y, w, h] = this.box ?? [0, 0, 0, 0];
    const corner = on.closest("[data-corner]")?.dataset.corner;
    if (!corner && on.closest(".grip")) {
      return (to) => [clamp(x + to[0] - from[0], 0, width - w), clamp(y + to[1] - from[1], 0, height - h), w, h];
    }
    const fixed = corner ? [corner.includes("w") ? x + w : x, corner.includes("n") ? y + h : y] : from;
    return (to) => {
      const [left, right] = [fixed[0], to[0]].map((each) => clamp(each, 0, width)).sort((a, b) => a - b);
      const [top, bottom] = [fixed[1], to[1]].map((each) => clamp(each, 0, height)).sort((a, b) => a - b);
      return [left, top, right - left, bottom - top];
    };
  }

  key(event) {
    const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (way) this.nudge(way, event.shiftKey);
    else if (event.key === "Enter") this.search();
    else if (event.key === "Delete" || event.key === "Backspace") this.remove();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  nudge([right, down], resize) {
    const [[width, height], [x, y, w, h]] = [this.size, this.box];
    const [stepX, stepY] = [(right * width) / 50, (down * height) / 50];
    this.box = resize
      ? [x, y, clamp(w + stepX, width / 50, width - x), clamp(h + stepY, height / 50, height - y)]
      : [clamp(x + stepX, 0, width - w), clamp(y + stepY, 0, height - h), w, h];
    this.draw();
  }

  remove() {
    this.box = null;
    this.draw();
    if (this.target.dataset.box) go(this.target.dataset.whole, { by: role("box-start") });
    else role("box-start").focus();
  }

  search() {
    const [x, y, w, h] = this.box;
    const [left, top] = [Math.floor(x), Math.floor(y)];
    const box = [left, top, Math.max(1, Math.round(x + w) - left), Math.max(1, Math.round(y + h) - top)];
    const address = new URL(this.target.dataset.whole, location.origin);
    go(`${address.pathname}?box=${box}&${address.searchParams}`);
  }
}
