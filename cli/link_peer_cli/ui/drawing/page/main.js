// Filters, the address, the switch between graph and matrix, and the first drawing.

const FILTERS = ["text", "party", "account", "port", "state", "made_by"];

/** Changes a filter; the browser's Back undoes it. */
function setFilter(name, value) {
  byId(name).value = chosen[name] = value;
  draw(true);
}

/** Shows a party's neighbourhood, or what is in a collapsed account. */
function lookAt(box) {
  if (box.party) setFilter("party", box.party.key);
  else showBox(box);
}

function toggle(account) {
  if (!chosen.collapsed.delete(account)) chosen.collapsed.add(account);
  draw(true);
}

/** Writes what is chosen into the address: as a new entry of the browser's history, or in place of the last one. */
function remember(push) {
  const all = { ...chosen, collapsed: [...chosen.collapsed].join(",") };
  const pairs = Object.entries(all).filter(([name, value]) => value && (name !== "view" || value === "matrix"));
  const hash = `#${new URLSearchParams(pairs)}`.replaceAll("%40", "@").replaceAll("%2F", "/").replaceAll("%2C", ",");
  if (hash === (location.hash || "#")) return;
  history[push ? "pushState" : "replaceState"](null, "", pairs.length ? hash : location.href.split("#")[0]);
}

/** Takes what is chosen from the address. */
function restore() {
  const wanted = new URLSearchParams(location.hash.slice(1));
  for (const name of FILTERS) {
    byId(name).value = wanted.get(name) || "";
    chosen[name] = byId(name).value; // a menu has no value that it does not offer
  }
  chosen.view = wanted.get("view") === "matrix" ? "matrix" : "graph";
  chosen.collapsed = new Set((wanted.get("collapsed") || "").split(",").filter((account) => used.includes(account)));
  draw();
}

function draw(push = false) {
  remember(push);
  drawMap();
  overview();
}

function drawMap() {
  const shown = visible(), drawn = drawing(shown);
  summary(shown);
  byId("empty").hidden = shown.length > 0;
  const arranged = arrangedIn(drawn, byId("room"));
  const matrix = chosen.view === "matrix";
  byId("graph").hidden = byId("fit").hidden = matrix;
  byId("matrix").hidden = !matrix;
  byId("graph-view").ariaPressed = !matrix;
  byId("matrix-view").ariaPressed = matrix;
  byId("collapse").textContent = used.every((one) => chosen.collapsed.has(one)) ? "Expand accounts" : "Collapse accounts";
  byId("legend").className = matrix ? "legend of-cells" : "legend of-lines";
  byId("graph").ariaLabel = `Graph of ${counted(drawn.boxes.length, "box", "boxes")} and ${counted(drawn.arrows.length, "arrow")}. The panel lists the same links.`;
  byId("note").textContent = matrix ? "Arrow keys go from link to link." : "";
  hint(null);
  if (matrix) drawMatrix(drawn, byId("room"));
  else drawGraph(drawn, arranged);
}

function summary(shown) {
  const own = shown.filter((arrow) => arrow.kind === "link"), all = data.links.length;
  const linked = new Set(own.flatMap(ends)).size;
  const of = own.length < all ? ` of ${all}` : "";
  const about = [`${own.length}${of} ${all === 1 ? "link" : "links"} of ${linked} groups and instances`];
  for (const kind of ["rule", "wish"]) {
    const count = shown.filter((arrow) => arrow.kind === kind).length;
    if (count) about.push(countedKind(count, kind));
  }
  for (const word of URGENT) {
    const some = own.filter((link) => link.state === word).length;
    if (some) about.push(element("span", { className: word, textContent: `${some} ${word}` }));
  }
  const soon = shown.filter((link) => link.soon).length;
  if (soon) about.push(element("span", { className: "soon", textContent: `${soon} ending within 7 days` }));
  about.push(`${data.region} · as of ${instant(data.made)}`);
  byId("summary").replaceChildren(...about.flatMap((part, n) => (n ? [" · ", part] : [part])));
}

/** What each state looks like, as a line and as a cell. */
function legend() {
  const items = Object.entries(STATES).map(([word, { colour, dash, sign, about }]) => {
    const line = element("i", { className: "line" });
    const stops = (dash.length ? dash : [28, 0]).reduce(([made, from], long, n) => [[...made, `${n % 2 ? "transparent" : `var(--${colour})`} ${from}px ${from + long}px`], from + long], [[], 0]);
    line.style.background = `repeating-linear-gradient(90deg, ${stops[0].join(", ")})`;
    return element("li", {}, line, element("i", { className: `cell ${word}`, textContent: sign }), about);
  });
  byId("legend").prepend(...items);
}

function options(id, pairs) {
  byId(id).append(new Option("any", ""), ...pairs.map(([value, label]) => new Option(label, value)));
}

const known = [...parties.values()].sort((one, other) => collator.compare(one.name, other.name));
const used = [...new Set(known.map((one) => one.account))];
byId("parties").append(...known.map((one) => element("option", { value: one.key, label: one.name })));
options("account", used.map((uid) => [uid, accountName(uid)]).sort((one, other) => collator.compare(one[1], other[1])));
options("port", [...new Set(links.flatMap((link) => link.ports.split("+")))].sort(collator.compare).map((one) => [one, one]));
options("state", Object.keys(STATES).map((word) => [word, word]));

byId("filters").addEventListener("input", () => {
  for (const name of FILTERS) chosen[name] = byId(name).value;
  draw();
});
byId("filters").addEventListener("submit", (event) => event.preventDefault());
byId("filters").addEventListener("reset", () => {
  for (const name of FILTERS) chosen[name] = "";
  draw(true);
});
byId("clear").onclick = () => byId("filters").reset();
byId("fit").onclick = fitGraph;
for (const view of ["graph", "matrix"]) {
  byId(`${view}-view`).onclick = () => {
    chosen.view = view;
    draw(true);
  };
}
byId("collapse").onclick = () => {
  chosen.collapsed = new Set(used.every((account) => chosen.collapsed.has(account)) ? [] : used);
  draw(true);
};
// Escape goes back: from a link to the list, from one party's neighbourhood to all. In a field it clears that.
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || (event.target instanceof HTMLInputElement && event.target.value)) return;
  if (story.dataset.shows === "links") overview();
  else if (chosen.party) setFilter("party", "");
});
addEventListener("hashchange", restore);
addEventListener("resize", drawMap);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => byId("graph").hidden || drawMap());

byId("left-out").textContent = `Not on this map: ${data.left_out.join("; ")}.`;
byId("problems").textContent = data.problems.join("\n");
byId("problems").hidden = !data.problems.length;
legend();
restore();
