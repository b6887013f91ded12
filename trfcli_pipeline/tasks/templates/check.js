"use strict";
// Without JavaScript, the texts are shown, but corrections can't be made here.
const { rows, labels, exclusive } = JSON.parse(document.getElementById("facts").textContent);
const cards = Array.from(document.querySelectorAll(".card"));
const key = exclusive ? "label" : "labels";
const NAMES = { accepted: "accepted", kept: "kept", dropped: "left out" };
// What was decided for each card: the labels, null to leave the text out.
const decisions = new Map();
let current = 0;
let saved = true;

const shown = (value) => (Array.isArray(value) ? value.join(" + ") || "none" : value);
const same = (one, other) => JSON.stringify(one) === JSON.stringify(other);

const describe = (index) => {
  const { given, suggested } = rows[index];
  let state = "";
  let text = "";
  if (decisions.has(index)) {
    const value = decisions.get(index);
    if (value === null) {
      state = "dropped";
    } else if (same(value, given)) {
      state = "kept";
    } else {
      state = same(value, suggested) ? "accepted" : "changed";
    }
    text = NAMES[state] ?? `changed to ${shown(value)}`;
  }
  cards[index].dataset.state = state;
  cards[index].querySelector(".state").textContent = text;
  const count = (number) => number.toLocaleString("en");
  document.getElementById("progress").textContent =
    `${count(decisions.size)} of ${count(cards.length)} decided`;
};

const go = (index) => {
  cards[current].classList.remove("current");
  cards[current].removeAttribute("aria-current");
  current = Math.max(0, Math.min(cards.length - 1, index));
  const card = cards[current];
  card.classList.add("current");
  card.setAttribute("aria-current", "true");
  card.append(actions);
  select.value = "";
  card.focus({ preventScroll: true });
  card.scrollIntoView({ block: "nearest" });
};

const decide = (value, { next = true } = {}) => {
  decisions.set(current, value);
  saved = false;
  describe(current);
  if (next && current < cards.length - 1) {
    go(current + 1);
  }
};

const undo = () => {
  decisions.delete(current);
  describe(current);
};

// With several labels per text, choosing one adds or removes it.
const choose = (label) => {
  if (exclusive) {
    decide(label);
    return;
  }
  const value = decisions.get(current) ?? rows[current].given;
  const changed = value.includes(label)
    ? value.filter((each) => each !== label)
    : [...value, label].sort();
  decide(changed, { next: false });
};

const save = () => {
  const lines = rows.map((row, index) =>
    JSON.stringify({ ...row, [key]: decisions.has(index) ? decisions.get(index) : row.given }),
  );
  const file = new Blob([lines.join("\n"), "\n"], { type: "application/jsonl" });
  const link = document.createElement("a");
  link.href = URL.createObjectURL(file);
  link.download = "corrections.jsonl";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  saved = true;
};

const button = (text, action) => {
  const element = document.createElement("button");
  element.type = "button";
  element.textContent = text;
  element.addEventListener("click", action);
  return element;
};

const accept = () => decide(rows[current].suggested);
const keep = () => decide(rows[current].given);
const drop = () => decide(null);
const select = document.createElement("select");
select.setAttribute("aria-label", "Another label");
select.append(new Option(exclusive ? "Other label" : "Add or remove", ""));
for (const label of labels) {
  select.append(new Option(label, label));
}
select.addEventListener("change", () => {
  if (select.value !== "") {
    const label = select.value;
    select.value = "";
    choose(label);
  }
});
const actions = document.createElement("div");
actions.className = "actions";
actions.append(button("Accept", accept), button("Keep", keep), button("Leave out", drop), select);

const KEYS = {
  j: () => go(current + 1),
  ArrowDown: () => go(current + 1),
  k: () => go(current - 1),
  ArrowUp: () => go(current - 1),
  a: accept,
  s: keep,
  d: drop,
  o: () => select.focus(),
  u: undo,
};

if (cards.length > 0) {
  document.addEventListener("keydown", (event) => {
    const isElsewhere = event.target.closest("select, input, .scroll");
    if (event.key === "Escape" && event.target === select) {
      cards[current].focus({ preventScroll: true });
    }
    if (isElsewhere || event.ctrlKey || event.metaKey || event.altKey || !(event.key in KEYS)) {
      return;
    }
    event.preventDefault();
    KEYS[event.key]();
  });
  cards.forEach((card, index) => {
    card.addEventListener("click", (event) => {
      if (index !== current && !event.target.closest(".actions")) {
        go(index);
      }
    });
    describe(index);
  });
  document.getElementById("save").addEventListener("click", save);
  window.addEventListener("beforeunload", (event) => {
    if (!saved) {
      event.preventDefault();
    }
  });
  document.getElementById("bar").hidden = false;
  go(0);
  window.scrollTo(0, 0);
}
