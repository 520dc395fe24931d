// The graph, which Cytoscape.js draws: columns by account, or one party's neighbourhood.

let graph = null;
let waiting = []; // the lines that are only drawn under the pointer

/** The columns: one for each account; around a party that is looked at, who may reach it, it, and whom it may reach. */
function groupsOf({ boxes, arrows }) {
  const centre = focused();
  if (!centre) {
    return [...new Set(boxes.map((box) => box.account))].map((account) => {
      const mine = boxes.filter((box) => box.account === account);
      return { key: `account ${account}`, title: mine[0].party ? accountName(account) : "", boxes: mine };
    });
  }
  const isOf = (box) => box.party === centre;
  const reached = new Set(arrows.map((arrow) => (isOf(arrow.source) ? arrow.target : arrow.mutual && arrow.source)));
  const others = boxes.filter((box) => !isOf(box));
  return [
    { key: "sources", title: "may reach it", boxes: others.filter((box) => !reached.has(box)) },
    { key: "centre", title: "", boxes: boxes.filter(isOf) },
    { key: "targets", title: "it may reach", boxes: others.filter((box) => reached.has(box)) },
  ].filter((group) => group.boxes.length);
}

/** Where everything stands in the room that there is. */
function arrangedIn(drawn, { clientWidth, clientHeight }) {
  const groups = groupsOf(drawn);
  const widths = drawn.boxes.map((box) => boxLines(box).map((text) => textWidth(text, 1)));
  const widest = ({ lines, size }) => size * Math.max(0, ...widths.flatMap((each) => each.slice(0, lines)));
  return { groups, ...arrange(groups, clientWidth, clientHeight, widest) };
}

function drawGraph({ boxes, arrows }, arranged) {
  const { groups, wide, tall, size } = arranged;
  const container = byId("graph");
  const circle = groups.every((group) => !group.title) && boxes.length > 2 && boxes.length < 9;
  const centre = focused(), placed = positions(arranged, centre);
  const elements = [];
  for (const { key, title, boxes: mine } of groups) {
    const columns = new Set(mine.map((box) => placed.places.get(box.key).column)).size;
    const label = fitted(title, (0.87 * columns * (placed.gap + wide)), size, 0); // letters of titles are bold
    if (title) elements.push({ data: { id: key, label }, classes: "account" });
    for (const box of mine) {
      const { x, y } = placed.places.get(box.key);
      const lines = boxLines(box).slice(0, box.party ? arranged.lines : 2);
      const label = lines.map((line) => fitted(line, (box.party ? wide : 206) - 12, size)).join("\n");
      const classes = [box.party ? "party" : "collapsed", box.party && box.party === centre ? "centre" : ""];
      elements.push({ data: { id: box.key, parent: title ? key : undefined, label, box }, classes, position: { x, y } });
    }
  }
  const lines = arrows.map((arrow, number) => {
    const classes = [stateOf(arrow.links), kindOf(arrow.links), circle ? "" : "curved"];
    if (arrow.mutual) classes.push("mutual");
    if (arrow.links.length === 1 && arrow.links[0].soon) classes.push("soon");
    if (centre ? arranged.columns.length > groups.length : arrows.length > LABELLED) classes.push("quiet");
    else if (centre) classes.push(arrow.source.party === centre ? "leaving" : "arriving");
    const run = course(arrow, number, arranged, placed);
    return {
      group: "edges", classes,
      data: {
        id: arrow.key, source: arrow.source.key, target: arrow.target.key, label: arrowTitle(arrow), arrow, ...bends(run),
        far: centre ? textWidth(arrowTitle(arrow), LABEL) / 2 + 14 : 0,
        leaves: `${run.start.x < placed.places.get(arrow.source.key).x ? -wide / 2 : wide / 2}px -3px`,
        enters: `${run.end.x < placed.places.get(arrow.target.key).x ? -wide / 2 : wide / 2}px 3px`,
      },
    };
  });
  waiting = !centre && (!arranged.fits || arrows.length > DRAWN) ? lines : [];
  if (!waiting.length) elements.push(...lines);
  if (graph) graph.destroy();
  graph = cytoscape({
    container, elements, style: graphStyle({ wide, tall: arranged.lines === 1 && boxes.some((box) => !box.party) ? 40 : tall, size }),
    minZoom: LEGIBLE / Math.min(size, LABEL), maxZoom: 2.5, boxSelectionEnabled: false, autounselectify: true, autoungrabify: true,
    layout: { name: circle ? "circle" : "preset", fit: false, avoidOverlap: false, radius: Math.min(container.clientWidth / 2 - 120, container.clientHeight / 2 - 40) },
  });
  fitGraph();
  const written = arrows.length <= LABELLED && (centre || placeLabels());
  byId("note").textContent = waiting.length ? "Point at a group to see its links; click it to see only them." : written ? "" : "Point at a link to see its ports.";
  graph.on("mouseover", "node.party, node.collapsed, edge", (event) => hoverGraph(event.target));
  graph.on("mouseout", "node, edge", () => hoverGraph(null));
  graph.on("tap", (event) => {
    const { box, arrow } = event.target === graph ? {} : event.target.data();
    if (arrow) showLinks(arrowEnds(arrow), arrow.links);
    else if (box) lookAt(box);
    else overview();
  });
}

/** Moves labels up or down until none is over another, over a box, or out of view. If one finds no place, all wait for the pointer. */
function placeLabels() {
  const meet = (a, b) => a.x1 < b.x2 && b.x1 < a.x2 && a.y1 < b.y2 && b.y1 < a.y2;
  const inside = ({ x1, x2, y1, y2 }) => x1 >= 0 && y1 >= 0 && x2 <= graph.width() && y2 <= graph.height();
  const taken = graph.nodes(".party, .collapsed").map((one) => one.renderedBoundingBox({ includeLabels: false }));
  const off = graph.edges().map((edge) => {
    const { x1, x2, y1, y2 } = edge.renderedBoundingBox({ includeNodes: false, includeEdges: false });
    const moved = (by) => ({ x1, x2, y1: y1 + by, y2: y2 + by });
    const free = [0, 1, -1, 2, -2, 3, -3].map((step) => step * 16).find((by) => inside(moved(by)) && !taken.some((one) => meet(one, moved(by))));
    if (free !== undefined) taken.push(moved(free));
    return free;
  });
  const all = !off.includes(undefined);
  graph.batch(() => {
    if (!all) graph.edges().addClass("silent");
    else graph.edges().forEach((edge, n) => edge.data("off", off[n]));
  });
  return all;
}

/** Shows all boxes; where they do not fit with letters that can be read, from the upper left corner. */
function fitGraph() {
  if (!graph || graph.elements().empty()) return;
  graph.resize();
  const { x1, y1, w, h } = graph.nodes().boundingBox();
  const middle = (from, size, room) => Math.round(Math.max(6, (room - size) / 2) - from);
  graph.viewport({ zoom: 1, pan: { x: middle(x1, w, graph.width()), y: middle(y1, h, graph.height()) } });
}

function boxLines(box) {
  if (!box.party) {
    const inside = box.inside.length ? `, ${countedKind(box.inside.length, kindOf(box.inside))} inside` : "";
    return [accountName(box.account), `${box.members.size} linked${inside}`];
  }
  const { name, id, account } = box.party;
  if (focused()) return [name, accountName(account)];
  return name === id ? [name] : [name, id];
}

/** Fades all but a box or an arrow and what is linked with it. */
function hoverGraph(target) {
  graph.batch(() => {
    if (waiting.length) graph.edges().remove();
    graph.elements(".faded, .near").removeClass("faded near");
    hint(target ? target.data("arrow") || target.data("box") : null);
    if (!target) return;
    if (waiting.length) graph.add(waiting.filter(({ data: line }) => [line.id, line.source, line.target].includes(target.id())));
    const near = target.isNode() ? target.closedNeighborhood() : graph.getElementById(target.id()).union(target.connectedNodes());
    near.addClass("near");
    graph.elements().not(near).not(".account").addClass("faded");
  });
}

/** Highlights the arrow of a link, and brings it into view. */
function pointOutInGraph(link) {
  graph.add(waiting.filter(({ data: line }) => line.arrow.links.includes(link) && graph.getElementById(line.id).empty()));
  const edge = graph.edges().filter((one) => one.data("arrow").links.includes(link));
  if (edge.empty()) return; // inside of a collapsed account
  const { x, y } = edge.renderedMidpoint();
  if (x < 0 || y < 0 || x > graph.width() || y > graph.height()) graph.panBy({ x: graph.width() / 2 - x, y: graph.height() / 2 - y });
  hoverGraph(edge);
}

function graphStyle({ wide, tall, size }) {
  const css = getComputedStyle(document.documentElement);
  const value = (name) => css.getPropertyValue(`--${name}`).trim();
  const line = (name) => ({ "line-color": value(name), "target-arrow-color": value(name), "source-arrow-color": value(name), color: value(name) });
  return [
    { selector: "node", style: { "font-family": value("sans"), color: value("text"), "font-size": size } },
    {
      selector: "node.party, node.collapsed", style: {
        shape: "round-rectangle", width: wide, height: tall, label: "data(label)", "text-valign": "center", "text-wrap": "wrap",
        "line-height": 1.3, "background-color": value("raised"), "border-width": 1, "border-color": value("line"),
      },
    },
    { selector: "node.collapsed", style: { width: 206, "border-width": 3, "border-style": "double", "border-color": value("muted") } },
    { selector: "node.centre", style: { "border-width": 2, "border-color": value("accent"), "background-color": value("tint") } },
    {
      selector: "node.account", style: {
        shape: "round-rectangle", label: "data(label)", "text-valign": "top", "text-margin-y": -4, "font-weight": 600,
        color: value("muted"), "background-color": value("surface"), "background-opacity": 0.6, "border-width": 1,
        "border-color": value("line"), padding: PADDING, "font-size": size, events: "no",
      },
    },
    {
      selector: "edge", style: {
        width: 1.6, "curve-style": "bezier", "target-arrow-shape": "triangle", "arrow-scale": 0.9,
        label: "data(label)", "font-family": value("sans"), "font-size": LABEL, "text-margin-y": (edge) => edge.data("off") || 0,
        "text-background-color": value("bg"), "text-background-opacity": 1, "text-background-padding": 2, "text-background-shape": "round-rectangle",
      },
    },
    {
      selector: "edge.curved", style: {
        "curve-style": "unbundled-bezier", "control-point-weights": (edge) => edge.data("weights"), "control-point-distances": (edge) => edge.data("distances"),
        "edge-distances": "endpoints", "source-endpoint": "data(leaves)", "target-endpoint": "data(enters)",
      },
    },
    // Around one party, what is written at a line stands at its other end.
    { selector: "edge.arriving", style: { label: "", "source-label": "data(label)", "source-text-offset": "data(far)" } },
    { selector: "edge.leaving", style: { label: "", "target-label": "data(label)", "target-text-offset": "data(far)" } },
    ...Object.entries(STATES).map(([word, { colour, dash }]) => ({
      selector: `edge.${word}`, style: { ...line(colour), "line-style": dash.length ? "dashed" : "solid", ...(dash.length ? { "line-dash-pattern": dash } : {}) },
    })),
    { selector: "edge.rule", style: { width: 1, "target-arrow-shape": "vee", ...line("person") } },
    { selector: "edge.mixed", style: { ...line("accent"), color: value("text") } },
    { selector: "edge.soon", style: { color: value("soon") } },
    { selector: "edge.mutual", style: { "source-arrow-shape": "triangle" } },
    { selector: "edge.quiet, edge.silent", style: { "text-opacity": 0, "text-background-opacity": 0 } },
    { selector: "edge.quiet", style: { opacity: 0.6, width: 1.2 } },
    { selector: ".faded", style: { opacity: 0.25 } },
    { selector: "edge.near", style: { width: 2.6, opacity: 1, "text-opacity": 1, "text-background-opacity": 1, "z-index": 9 } },
    { selector: "node.near", style: { "border-color": value("accent") } },
  ];
}
