"use strict";
// Without JavaScript, the whole table of mistakes is shown, and boxes that scroll aren't marked.
const PAGE = 100;

const form = document.getElementById("filter");
if (form) {
  const [words, label, side] = ["words", "label", "side"].map((id) => document.getElementById(id));
  const count = document.getElementById("count");
  const more = document.getElementById("more");
  const rows = Array.from(document.querySelectorAll("#rows tbody tr"), (element) => ({
    element,
    text: element.querySelector(".text").textContent.toLowerCase(),
    gold: element.dataset.gold.split(" "),
    predicted: element.dataset.predicted.split(" "),
  }));
  let limit = PAGE;
  const hasLabel = (row) =>
    label.value === "" ||
    (side.value !== "predicted" && row.gold.includes(label.value)) ||
    (side.value !== "gold" && row.predicted.includes(label.value));
  const update = () => {
    const wanted = words.value.toLowerCase().split(/\s+/).filter(Boolean);
    let matches = 0;
    for (const row of rows) {
      const fits = hasLabel(row) && wanted.every((word) => row.text.includes(word));
      matches += fits ? 1 : 0;
      row.element.hidden = !fits || matches > limit;
    }
    const shown = Math.min(matches, limit);
    const [some, found, all] = [shown, matches, rows.length].map((n) => n.toLocaleString("en"));
    if (matches === rows.length) {
      count.textContent = `${some} of ${all} shown`;
    } else {
      count.textContent = `${found} of ${all} match${shown < matches ? `, ${some} shown` : ""}`;
    }
    more.hidden = shown === matches;
    more.textContent = `Show ${Math.min(PAGE, matches - shown)} more`;
  };
  form.addEventListener("input", () => {
    limit = PAGE;
    update();
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  more.addEventListener("click", () => {
    limit += PAGE;
    update();
  });
  form.hidden = false;
  update();
}

// The edges of a box fade, up to its scrollbars, where there is more to scroll to.
for (const box of document.querySelectorAll(".scroll")) {
  const mark = () => {
    box.style.setProperty("--bar-right", `${box.offsetWidth - box.clientWidth}px`);
    box.style.setProperty("--bar-below", `${box.offsetHeight - box.clientHeight}px`);
    box.classList.toggle("right", box.scrollLeft + box.clientWidth < box.scrollWidth - 1);
    box.classList.toggle("below", box.scrollTop + box.clientHeight < box.scrollHeight - 1);
  };
  box.addEventListener("scroll", mark, { passive: true });
  new ResizeObserver(mark).observe(box);
}
