// A heat map over a picture: smooth, warm, and rising in lightness, so that it reads without colour.
const STEPS = [ // share of the greatest value -> red, green, blue, opacity
  [0, 20, 11, 40, 0.66], [0.25, 87, 15, 109, 0.6], [0.5, 187, 55, 84, 0.56], [0.75, 249, 142, 8, 0.5], [1, 252, 255, 164, 0.46],
];
const SIDE = 96; // pixels of the map as drawn, before the browser enlarges it

function colour(share) {
  const next = Math.max(1, STEPS.findIndex(([at]) => at >= share));
  const [low, high] = [STEPS[next - 1], STEPS[next]];
  const part = (share - low[0]) / (high[0] - low[0]);
  const [red, green, blue, opacity] = low.slice(1).map((value, place) => value + part * (high[place + 1] - value));
  return [red, green, blue, 255 * opacity];
}

// What each of SIDE places takes of n values: a Gaussian about as wide as one of them.
function weights(n) {
  return Array.from({ length: SIDE }, (_, place) => {
    const middle = ((place + 0.5) / SIDE) * n - 0.5;
    const raw = Array.from({ length: n }, (_, value) => Math.exp(-((value - middle) ** 2) / (2 * 0.6 ** 2)));
    const sum = raw.reduce((a, b) => a + b);
    return raw.map((each) => each / sum);
  });
}

const dot = (a, b) => a.reduce((sum, each, place) => sum + each * b[place], 0);

const LEAST = 0.2; // a likeness that, evenly spread, is as warm as can be: two pictures with nothing in common stay dark

/** What one side of an explanation shows: the pooled part of each place, and of the classes' where there is one. */
const shown = ({ map, kinds }) => map.map((row, y) => row.map((value, x) => value + (kinds ? Math.max(0, kinds[y][x]) : 0)));

/** The value that is warmest, the same for both sides. */
export function hottest(sides) {
  const values = sides.flatMap((side) => shown(side).flat());
  return Math.max(...values, LEAST / (values.length / sides.length));
}

// A canvas of a map: rows of numbers, of which those below zero count as none.
function paint(map, most) {
  const across = weights(map[0].length);
  const rows = map.map((row) => across.map((weight) => Math.max(0, dot(weight, row))));
  const smooth = weights(map.length).flatMap((weight) => across.map((_, x) => dot(weight, rows.map((row) => row[x]))));
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = SIDE;
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(SIDE, SIDE);
  smooth.forEach((value, place) => pixels.data.set(colour(Math.min(value / most, 1)), 4 * place));
  context.putImageData(pixels, 0, 0);
  return canvas;
}

/** Lay a side's map over a picture, on the part of it that its area (fractions of width and height) says. */
export function lay(side, picture, most) {
  const heat = paint(shown(side), most);
  const canvas = document.createElement("canvas");
  const [x, y, width, height] = side.area;
  const { left, top, across, down } = shownAt(picture);
  const scale = Math.min(devicePixelRatio, 2);
  canvas.width = Math.max(1, Math.round(across * scale));
  canvas.height = Math.max(1, Math.round(down * scale));
  canvas.className = "heat";
  canvas.setAttribute("aria-hidden", "true");
  Object.assign(canvas.style, { inset: "auto", left: `${left}px`, top: `${top}px`, width: `${across}px`, height: `${down}px` });
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.fillStyle = `rgb(20 11 40 / ${STEPS[0][4]})`;
  context.fillRect(0, 0, canvas.width, canvas.height); // what the network didn't look at is as dark as what says nothing
  const at = [x * canvas.width, y * canvas.height, width * canvas.width, height * canvas.height];
  context.clearRect(...at);
  context.drawImage(heat, ...at);
  picture.after(canvas);
  return canvas;
}

// Where in its element a picture lies that is fitted into it whole.
function shownAt(picture) {
  const style = getComputedStyle(picture);
  const [padX, padY] = [parseFloat(style.paddingLeft), parseFloat(style.paddingTop)];
  const [width, height] = [picture.clientWidth - 2 * padX, picture.clientHeight - 2 * padY];
  const most = style.objectFit === "scale-down" ? 1 : Infinity;
  const fit = Math.min(width / picture.naturalWidth, height / picture.naturalHeight, most);
  const [across, down] = [picture.naturalWidth * fit, picture.naturalHeight * fit];
  const [left, top] = [picture.offsetLeft + padX + (width - across) / 2, picture.offsetTop + padY + (height - down) / 2];
  return { left, top, across, down };
}
