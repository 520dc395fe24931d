// The matrix: a row for each box that may reach others, a column for each that may be reached.

function drawMatrix(shown) {
  const { boxes, cells } = drawing(shown);
  const place = (one, other) => boxTitle(one).localeCompare(boxTitle(other)) || one.key.localeCompare(other.key);
  boxes.sort((one, other) => accountName(one.account).localeCompare(accountName(other.account)) || place(one, other));
  const rows = boxes.filter((box) => cells.some((cell) => cell.source === box));
  // Above the rows of each account is a line with its name.
  const named = (box, n) => box.party && (!n || rows[n - 1].account !== box.account);
  const heights = [];
  const row = new Map(rows.map((box, n) => [box, heights.push(...(named(box, n) ? ["30px", "24px"] : ["24px"])) + 1]));
  // A column stands near the rows that reach it, so that cells are where one looks first.
  const from = new Map();
  for (const cell of cells) from.set(cell.target, [...(from.get(cell.target) || []), row.get(cell.source)]);
  const first = (box) => Math.min(...from.get(box));
  const columns = [...from.keys()].sort((one, other) => first(one) - first(other) || place(one, other));
  const column = new Map(columns.map((box, n) => [box, n + 2]));
  const grid = element("div", { className: "grid" });
  grid.style.gridTemplate = `130px ${heights.join(" ")} / 200px repeat(${columns.length}, 24px)`;
  grid.append(element("div", { className: "corner", textContent: "from ↓  to →" }));
  const heads = new Map();
  const head = (box, kind, row, column) => {
    const button = at(element("button", { type: "button", className: kind, textContent: boxTitle(box) }), row, column);
    button.title = box.party ? `${box.party.name}\n${box.key}` : box.account;
    button.onclick = () => showBox(box);
    listen(button, grid, () => box, () => cells.filter((cell) => cell.source === box || cell.target === box));
    heads.set(`${kind} ${box.key}`, button);
    return button;
  };
  const span = (box) => {
    const last = rows.findLast((one) => one.account === box.account);
    return `${row.get(box) - 1} / ${row.get(last) + 1}`; // its name stays in view as long as one of its rows
  };
  rows.forEach((box, n) => {
    if (n % 2) grid.append(at(element("div", { className: "stripe" }), row.get(box), `2 / ${columns.length + 2}`));
    if (named(box, n)) {
      grid.append(at(element("div", { className: "account-name", textContent: accountName(box.account) }), span(box), 1));
    }
  });
  rows.forEach((box) => {
    grid.append(head(box, "from", row.get(box), 1));
  });
  columns.forEach((box, n) => grid.append(head(box, "to", 1, n + 2)));
  for (const cell of cells) {
    const button = element("button", { type: "button", className: `cell ${effectOf(cell.links)}` });
    if (cell.links.some((link) => link.soon)) button.classList.add("soon");
    button.textContent = cell.links.length > 1 ? cell.links.length : "";
    button.setAttribute("aria-label", `${boxTitle(cell.source)} → ${boxTitle(cell.target)}: ${arrowTitle(cell)}`);
    button.onclick = () => showLinks(`${boxTitle(cell.source)} → ${boxTitle(cell.target)}`, cell.links);
    listen(button, grid, () => cell, () => [cell]);
    cell.button = button;
    button.dataset.links = cell.links.map((link) => link.number).join(" ");
    grid.append(at(button, row.get(cell.source), column.get(cell.target)));
  }
  document.getElementById("matrix").replaceChildren(grid);

  function listen(button, grid, subject, near) {
    const clear = () => {
      grid.classList.remove("hovering");
      grid.querySelectorAll(".near").forEach((one) => one.classList.remove("near"));
      hint(null);
    };
    button.onmouseenter = button.onfocus = () => {
      clear();
      grid.classList.add("hovering");
      hint(subject());
      for (const cell of near()) {
        for (const one of [cell.button, heads.get(`from ${cell.source.key}`), heads.get(`to ${cell.target.key}`)]) {
          one.classList.add("near");
        }
      }
    };
    button.onmouseleave = button.onblur = clear;
  }
}

/** Brings the cell of a link into view, and highlights it as the pointer does. */
function pointOutInMatrix(link) {
  const button = document.querySelector(`#matrix [data-links~="${link.number}"]`);
  button.scrollIntoView({ block: "center", inline: "center" });
  button.focus({ preventScroll: true });
}

function at(node, row, column) {
  node.style.gridRow = row;
  node.style.gridColumn = column;
  return node;
}
