// What each part does is in its own file; here they are set to work.
import * as answer from "./answer.js";
import * as asking from "./ask.js";
import * as box from "./box.js";
import * as duplicates from "./duplicates.js";
import * as evaluation from "./evaluation.js";
import * as keys from "./keys.js";
import * as labels from "./labels.js";
import * as larger from "./larger.js";
import * as progress from "./progress.js";
import * as wall from "./wall.js";
import * as why from "./why.js";

function mount(place) {
  answer.mount();
  box.mount();
  keys.mount(place);
}

for (const part of [asking, keys, larger, progress, why]) part.start();
for (const part of [duplicates, evaluation, labels, wall]) part.mount();
mount();
document.addEventListener("congener:shown", ({ detail }) => mount(detail));
