// Filters, the switch between graph and matrix, and the first drawing.

const FILTERS = ["text", "party", "account", "port", "effect"];
const byId = (id) => document.getElementById(id);

function setFilter(name, value) {
  byId(name).value = value;
  state[name] = value;
  draw();
}

function toggle(account) {
  if (!state.collapsed.delete(account)) state.collapsed.add(account);
  draw();
}

function draw() {
  const shown = visible();
  const arrows = drawing(shown).arrows.length;
  const matrix = state.view ? state.view === "matrix" : arrows > MATRIX_ABOVE;
  byId("empty").hidden = shown.length > 0;
  byId("graph").hidden = matrix;
  byId("matrix").hidden = !matrix;
  byId("graph-view").setAttribute("aria-pressed", !matrix);
  byId("matrix-view").setAttribute("aria-pressed", matrix);
  byId("fit").hidden = matrix;
  const accounts = new Set([...parties.values()].map((one) => one.account));
  byId("collapse").textContent = [...accounts].every((one) => state.collapsed.has(one)) ? "Expand accounts" : "Collapse accounts";
  const linked = new Set(shown.flatMap(ends)).size;
  const of = shown.length < links.length ? ` of ${links.length}` : "";
  const about = [`${shown.length}${of} ${links.length === 1 ? "link" : "links"} of ${linked} groups and instances`];
  for (const [kind, count] of [["blocked", (link) => link.effect === "blocked"], ["soon", (link) => link.soon]]) {
    const some = shown.filter(count).length;
    if (some) about.push(element("span", { className: kind, textContent: `${some} ${kind === "soon" ? "ending within 7 days" : kind}` }));
  }
  about.push(`${data.region} · as of ${instant(data.made)}`);
  byId("summary").replaceChildren(...about.flatMap((part, n) => (n ? [" · ", part] : [part])));
  byId("legend").className = matrix ? "legend cells" : "legend";
  hint(null);
  if (matrix) drawMatrix(shown);
  else drawGraph(shown);
  showAll();
}

function options(id, pairs) {
  byId(id).append(new Option("any", ""), ...pairs.map(([value, label]) => new Option(label, value)));
}

const known = [...parties.values()].sort((one, other) => one.name.localeCompare(other.name));
byId("parties").append(...known.map((one) => element("option", { value: one.key, label: one.name })));
const used = [...new Set(known.map((one) => one.account))];
options("account", used.map((uid) => [uid, accountName(uid)]).sort((one, other) => one[1].localeCompare(other[1])));
const ports = [...new Set(links.flatMap((link) => link.ports.split("+")))];
options("port", ports.sort(new Intl.Collator("en", { numeric: true }).compare).map((one) => [one, one === "mutual" ? "everything" : one]));
options("effect", [["passes", "passes"], ["blocked", "blocked"], ["unknown", "not known"]]);

byId("filters").addEventListener("input", () => {
  for (const name of FILTERS) state[name] = byId(name).value;
  draw();
});
byId("filters").addEventListener("submit", (event) => event.preventDefault());
byId("filters").addEventListener("reset", () => {
  for (const name of FILTERS) state[name] = "";
  draw();
});
byId("clear").onclick = () => byId("filters").reset();
byId("fit").onclick = fitGraph;
for (const view of ["graph", "matrix"]) {
  byId(`${view}-view`).onclick = () => {
    state.view = view;
    draw();
  };
}
byId("collapse").onclick = () => {
  const open = used.filter((account) => !state.collapsed.has(account));
  if (open.length) open.forEach((account) => state.collapsed.add(account));
  else state.collapsed.clear();
  draw();
};
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => graph && graph.style(graphStyle()));

byId("problems").textContent = data.problems.join("\n");
byId("problems").hidden = !data.problems.length;
draw();
