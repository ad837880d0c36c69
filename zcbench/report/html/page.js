"use strict";

// A click on a head sorts by it, a second click the other way; what is missing stays last.
function sort(head) {
  const table = head.closest("table");
  const numeric = "numeric" in head.dataset;
  const before = head.getAttribute("aria-sort");
  const first = numeric ? "descending" : "ascending";
  const second = numeric ? "ascending" : "descending";
  const direction = before === first ? second : first;
  const sign = direction === "ascending" ? 1 : -1;
  const compare = (a, b) => {
    const [x, y] = [a, b].map((row) => {
      const cell = row.cells[head.cellIndex];
      return numeric ? cell.dataset.key ?? "" : cell.textContent.trim();
    });
    if (x === "" || y === "") return (x === "") - (y === "");
    return sign * (numeric ? x - y : x.localeCompare(y));
  };
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", direction);
  table.tBodies[0].append(...[...table.tBodies[0].rows].sort(compare));
}

for (const head of document.querySelectorAll("thead th")) {
  const button = document.createElement("button");
  button.type = "button";
  button.append(...head.childNodes);
  button.addEventListener("click", () => sort(head));
  head.append(button);
}

// Where there is one figure for each dataset and little room, one is shown.
for (const section of document.querySelectorAll("[data-choice]")) {
  const figures = [...section.querySelectorAll("figure")];
  const label = document.createElement("label");
  const select = document.createElement("select");
  figures.forEach((figure, i) => select.add(new Option(figure.dataset.where, i)));
  select.add(new Option("all", "all"));
  const show = () => figures.forEach((figure, i) => {
    figure.hidden = select.value !== "all" && select.value !== String(i);
  });
  select.addEventListener("change", show);
  label.className = "choice";
  label.append("Dataset ", select);
  figures[0].before(label);
  show();
}

// In the leaderboard: datasets of one space, proxies by a part of their name.
for (const box of document.querySelectorAll(".filters")) {
  const table = document.querySelector(".heat");
  const [space, name] = box.querySelectorAll("[data-filter]");
  const choose = () => {
    const heads = [...table.tHead.rows[0].cells];
    for (const row of table.rows) {
      [...row.cells].forEach((cell, i) => {
        const of = heads[i].dataset.space;
        cell.hidden = Boolean(of && space.value && of !== space.value);
      });
    }
    for (const row of table.tBodies[0].rows) {
      row.hidden = !row.cells[0].textContent.includes(name.value.trim());
    }
  };
  space.addEventListener("change", choose);
  name.addEventListener("input", choose);
  box.hidden = false;
}
