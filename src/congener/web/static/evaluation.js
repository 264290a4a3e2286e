// The evaluation's page: the report is a page of its own, shown below.
import { element, role, root } from "./api.js";
import { task } from "./task.js";

export function mount() {
  task("evaluation", `${root}/api/evaluation`, ({ images }, state) => {
    const address = `${root}/evaluation/report`;
    if (images) state.textContent = `Of ${images.toLocaleString("en")} images.`;
    state.append(" ", element("a", { href: address }, "The report as a page"));
    role("report").replaceChildren(element("iframe", { src: address, title: "Report of the evaluation" }));
    role("report").hidden = false;
  });
}
