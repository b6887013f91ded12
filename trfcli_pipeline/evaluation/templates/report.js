"use strict";
// Filters the table of mistakes. Without JavaScript, the whole table is shown.
const form = document.getElementById("filter");
if (form) {
  const [words, label, side] = ["words", "label", "side"].map((id) => document.getElementById(id));
  const count = document.getElementById("count");
  const rows = Array.from(document.querySelectorAll("#rows tbody tr"), (element) => ({
    element,
    text: element.querySelector(".text").textContent.toLowerCase(),
    gold: element.dataset.gold.split(" "),
    predicted: element.dataset.predicted.split(" "),
  }));
  const hasLabel = (row) =>
    label.value === "" ||
    (side.value !== "predicted" && row.gold.includes(label.value)) ||
    (side.value !== "gold" && row.predicted.includes(label.value));
  const update = () => {
    const wanted = words.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows) {
      const fits = hasLabel(row) && wanted.every((word) => row.text.includes(word));
      row.element.hidden = !fits;
      shown += fits ? 1 : 0;
    }
    count.textContent = `${shown} of ${rows.length} shown`;
  };
  form.addEventListener("input", update);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.hidden = false;
  update();
}
