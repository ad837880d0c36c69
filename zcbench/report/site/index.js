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
