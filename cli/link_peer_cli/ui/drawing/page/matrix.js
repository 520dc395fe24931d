// The matrix: a row and a column for each box, in the same order. A cell says that its row may reach its column.

const HEAD = [90, 190], BAND = 20, CELL = [13, 24]; // pixels: least and most of names, an account's line, least and most of a cell

function drawMatrix({ boxes, cells }, { clientWidth, clientHeight }) {
  // Before the boxes of each account is a line with its name.
  const tracks = [];
  const first = (box, n) => box.party && (!n || boxes[n - 1].account !== box.account);
  const track = new Map(boxes.map((box, n) => [box, tracks.push(...(first(box, n) ? ["band", "cell"] : ["cell"])) + 1]));
  const bands = tracks.filter((one) => one === "band").length;
  const widest = Math.max(0, ...boxes.flatMap((box) => [boxTitle(box), `${accountName(box.account)}mmm`]).map((text) => textWidth(text, 11)));
  const names = Math.min(HEAD[1], Math.max(HEAD[0], Math.ceil(widest) + 30));
  const room = Math.min(clientWidth, clientHeight) - names - bands * BAND - 24;
  const size = Math.max(CELL[0], Math.min(CELL[1], Math.floor(room / Math.max(1, boxes.length))));
  const template = `${names}px ${tracks.map((one) => `${one === "band" ? BAND : size}px`).join(" ")}`;
  const ariaLabel = "Rows may reach columns. Arrow keys move between names and links, Enter shows one.";
  const grid = element("div", { className: "grid", role: "grid", ariaLabel });
  grid.style.gridTemplate = `${template} / ${template}`;
  grid.style.setProperty("--cell", `${size}px`);
  grid.style.setProperty("--names", `${names}px`);
  const shade = (className, properties) => element("div", { className, ariaHidden: "true", ...properties });
  const crosses = ["across", "down"].map((kind) => shade(`cross ${kind}`, { hidden: true }));
  grid.append(...crosses);

  const stops = []; // what the arrow keys reach: { button, row, column, subject }
  const row = (index, ...children) => {
    const made = element("div", { className: "cells", role: "row", ariaRowIndex: index }, ...children);
    grid.append(made);
    return made;
  };
  const stop = (role, className, text, row, column, subject) => {
    const button = element("div", { role, className: `stop ${className}`, textContent: text, tabIndex: -1, ariaColIndex: column });
    at(button, row, column);
    stops.push({ button, row, column, subject });
    return button;
  };
  const head = (role, className, box, row, column) => {
    const button = stop(role, className, boxTitle(box), row, column, box);
    button.title = box.party ? `${box.party.name}\n${box.key}` : box.account;
    button.onclick = () => lookAt(box);
    return button;
  };

  row(1, shade("corner", { textContent: "from ↓  to →" }),
    ...boxes.map((box) => head("columnheader", "to", box, 1, track.get(box))));
  boxes.forEach((box, n) => {
    if (!first(box, n)) return;
    const start = track.get(box) - 1, end = track.get(boxes.findLast((one) => one.account === box.account)) + 1;
    const odd = grid.querySelectorAll(".band.across").length % 2 ? "odd" : "";
    const name = { textContent: accountName(box.account) };
    grid.append(at(shade(`band across ${odd}`), `${start} / ${end}`, "1 / -1"), at(shade(`band down ${odd}`), "1 / -1", `${start} / ${end}`),
      // The name stays in view as long as one of its rows or columns is.
      at(shade("account-name", name), `${start} / ${end}`, 1), at(shade("account-name turned", name), 1, `${start} / ${end}`));
  });
  for (const box of boxes) {
    const line = row(track.get(box), head("rowheader", "from", box, track.get(box), 1));
    line.append(at(shade("self"), track.get(box), track.get(box)));
    for (const cell of cells.filter((one) => one.source === box)) line.append(cellButton(cell));
  }
  if (stops.length) stops[boxes.length].button.tabIndex = 0; // the first row's name
  byId("matrix").replaceChildren(grid);

  function cellButton(cell) {
    const state = stateOf(cell.links), several = cell.links.length > 1;
    const soon = cell.links.some((link) => link.soon) ? "soon" : "";
    const text = several ? cell.links.length : STATES[state].sign;
    const button = stop("gridcell", `cell ${state} ${soon} ${kindOf(cell.links) === "rule" ? "person" : ""}`, text, track.get(cell.source), track.get(cell.target), cell);
    const title = `${boxTitle(cell.source)} → ${boxTitle(cell.target)}`;
    button.ariaLabel = `${title}: ${arrowTitle(cell)}, ${state}`;
    button.onclick = () => showLinks(title, cell.links);
    button.dataset.links = cell.links.map((link) => link.number).join(" ");
    return button;
  }

  const found = new Map(stops.map((one) => [one.button, one]));
  const clear = () => {
    grid.classList.remove("hovering");
    grid.querySelectorAll(".near").forEach((one) => one.classList.remove("near"));
    crosses.forEach((one) => { one.hidden = true; });
    hint(null);
  };
  const point = (event) => {
    const one = found.get(event.target);
    clear();
    if (!one) return;
    grid.classList.add("hovering");
    hint(one.subject);
    const { subject } = one;
    const near = subject.links ? [subject] : cells.filter((cell) => cell.source === subject || cell.target === subject);
    const lit = new Set(near.flatMap((cell) => [`${track.get(cell.source)} 1`, `1 ${track.get(cell.target)}`, `${track.get(cell.source)} ${track.get(cell.target)}`]));
    for (const { button, row, column } of stops) if (lit.has(`${row} ${column}`)) button.classList.add("near");
    crosses[0].hidden = one.row === 1;
    crosses[1].hidden = one.column === 1;
    at(crosses[0], one.row, "1 / -1");
    at(crosses[1], "1 / -1", one.column);
  };
  grid.onmouseover = point;
  grid.onmouseleave = clear;
  grid.addEventListener("focusin", point);
  grid.addEventListener("focusout", clear);
  grid.onkeydown = (event) => {
    const from = found.get(event.target), to = from && nextStop(event.key, from, stops);
    if (from && ["Enter", " "].includes(event.key)) {
      event.preventDefault();
      from.button.click();
    }
    if (!to) return;
    event.preventDefault();
    grid.querySelector('[tabindex="0"]').tabIndex = -1;
    to.button.tabIndex = 0;
    to.button.focus();
  };
}

/** The next name or link in the direction of a key; none at the edge, and for other keys. */
function nextStop(key, from, stops) {
  const along = { ArrowLeft: ["row", "column", -1], ArrowRight: ["row", "column", 1], ArrowUp: ["column", "row", -1], ArrowDown: ["column", "row", 1], Home: ["row", "column", -1], End: ["row", "column", 1] }[key];
  if (!along) return null;
  const [same, by, sign] = along;
  const on = stops.filter((one) => one[same] === from[same] && (one[by] - from[by]) * sign > 0);
  on.sort((one, other) => (one[by] - other[by]) * sign);
  return (key === "Home" || key === "End" ? on.at(-1) : on[0]) || null;
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
