// The graph: Cytoscape.js draws it, dagre places it.

const COMPACT_ABOVE = 20; // boxes
const LEGIBLE = 0.4; // the smallest zoom at which names can be read
const START = 0.85; // the zoom of a graph that would not be legible as a whole

let graph = null;

function drawGraph(shown) {
  const { boxes, arrows } = drawing(shown);
  const elements = [];
  const small = boxes.length > COMPACT_ABOVE;
  const open = new Set(boxes.filter((box) => box.party).map((box) => box.account));
  for (const account of open) {
    elements.push({ data: { id: `account ${account}`, label: accountName(account) }, classes: "account" });
  }
  for (const box of boxes) {
    const parent = box.party ? `account ${box.account}` : undefined;
    elements.push({ data: { id: box.key, parent, label: boxLabel(box, small), box }, classes: [box.party ? "party" : "collapsed", small ? "small" : ""] });
  }
  for (const arrow of arrows) {
    const classes = [effectOf(arrow.links)];
    if (arrow.mutual) classes.push("mutual");
    if (arrow.links.length === 1 && arrow.links[0].soon) classes.push("soon");
    if (arrows.length > MATRIX_ABOVE) classes.push("quiet");
    elements.push({
      data: { id: arrow.key, source: arrow.source.key, target: arrow.target.key, label: arrowTitle(arrow), arrow },
      classes,
    });
  }
  const counts = arrows.some((arrow) => arrow.links.length > 1); // written on arrows: wider than ports
  if (graph) graph.destroy();
  graph = cytoscape({
    container: document.getElementById("graph"), elements, style: graphStyle(), minZoom: 0.03, maxZoom: 2.5,
    boxSelectionEnabled: false, autounselectify: true,
    layout: {
      name: "dagre", rankDir: "TB", nodeSep: small ? 24 : counts ? 90 : 40, rankSep: small ? 64 : 84,
      edgeSep: small ? 30 : counts ? 120 : 60, fit: false,
      useDagreEdgeControlPoints: true,
    },
  });
  fitGraph();
  if (graph.zoom() < LEGIBLE) {
    const { x1, y1 } = graph.elements().boundingBox();
    graph.viewport({ zoom: START, pan: { x: 24 - START * x1, y: 24 - START * y1 } });
  }
  graph.on("mouseover", "node.party, node.collapsed, edge", (event) => hoverGraph(event.target));
  graph.on("mouseout", "node, edge", () => hoverGraph(null));
  graph.on("tap", (event) => {
    const { box, arrow } = event.target === graph ? {} : event.target.data();
    if (arrow) showLinks(`${boxTitle(arrow.source)} ${arrow.mutual ? "↔" : "→"} ${boxTitle(arrow.target)}`, arrow.links);
    else if (box) showBox(box);
    else showAll();
  });
}

function fitGraph() {
  if (!graph || graph.elements().empty()) return;
  graph.resize();
  graph.fit(undefined, 36);
  if (graph.zoom() > 1.15) graph.zoom(1.15);
  graph.center();
}

function boxLabel(box, small) {
  if (!box.party) {
    const inside = box.inside.length ? `, ${counted(box.inside.length, "link")} inside` : "";
    return `${shortened(accountName(box.account))}\n${box.members.size} linked${inside}`;
  }
  const { name, id } = box.party;
  return name === id || small ? shortened(name) : `${shortened(name)}\n${id}`;
}

function shortened(text) {
  const letters = [...text];
  return letters.length > 25 ? `${letters.slice(0, 24).join("")}…` : text;
}

/** Fades all but a box or an arrow and what is linked with it. */
function hoverGraph(target) {
  graph.batch(() => {
    graph.elements().removeClass("faded near");
    hint(target ? target.data("arrow") || target.data("box") : null);
    if (!target) return;
    const near = target.isNode() ? target.closedNeighborhood() : target.union(target.connectedNodes());
    near.addClass("near");
    graph.elements().not(near).not(".account").addClass("faded");
  });
}

/** Highlights the arrow of a link, and brings it into view. */
function pointOutInGraph(link) {
  const edge = graph.edges().filter((one) => one.data("arrow").links.includes(link));
  if (edge.empty()) return; // inside of a collapsed account
  const { x, y } = edge.renderedMidpoint();
  if (x < 0 || y < 0 || x > graph.width() || y > graph.height()) graph.panBy({ x: graph.width() / 2 - x, y: graph.height() / 2 - y });
  hoverGraph(edge);
}

function graphStyle() {
  const css = getComputedStyle(document.documentElement);
  const value = (name) => css.getPropertyValue(`--${name}`).trim();
  const line = (name, style) => ({
    "line-color": value(name), "line-style": style, "target-arrow-color": value(name), "source-arrow-color": value(name),
    color: value(name),
  });
  return [
    { selector: "node", style: { "font-family": value("sans"), color: value("text"), "font-size": 12 } },
    {
      selector: "node.party, node.collapsed", style: {
        shape: "round-rectangle", width: 206, height: 46, label: "data(label)", "text-valign": "center", "text-wrap": "wrap",
        "text-max-width": 196, "line-height": 1.3, "background-color": value("raised"), "border-width": 1, "border-color": value("line"),
      },
    },
    { selector: "node.party.small", style: { width: 178, height: 32, "font-size": 14 } },
    { selector: "node.collapsed", style: { "border-width": 3, "border-style": "double", "border-color": value("muted") } },
    {
      selector: "node.account", style: {
        shape: "round-rectangle", label: "data(label)", "text-valign": "top", "text-margin-y": -6, "font-weight": 600,
        color: value("muted"), "background-color": value("surface"), "background-opacity": 0.6, "border-width": 1,
        "border-color": value("line"), padding: 18, "font-size": 13,
      },
    },
    {
      selector: "edge", style: {
        // The points that dagre gives lead the lines around boxes.
        width: 2, "curve-style": "unbundled-bezier", "control-point-weights": (edge) => edge.scratch("controlPointWeights"),
        "control-point-distances": (edge) => edge.scratch("controlPointDistances"), "edge-distances": "intersection", "target-arrow-shape": "triangle", "arrow-scale": 1.1,
        label: "data(label)", "font-family": value("sans"), "font-size": 11, "min-zoomed-font-size": 7, "text-background-color": value("bg"),
        "text-background-opacity": 1, "text-background-padding": 3, "text-background-shape": "round-rectangle",
      },
    },
    { selector: "edge.passes", style: line("accent", "solid") },
    { selector: "edge.unknown", style: line("unknown", "dotted") },
    { selector: "edge.blocked", style: line("blocked", "dashed") },
    { selector: "edge.mixed", style: { ...line("accent", "solid"), color: value("blocked") } },
    { selector: "edge.soon", style: { color: value("soon") } },
    { selector: "edge.mutual", style: { "source-arrow-shape": "triangle" } },
    { selector: "edge.quiet", style: { "text-opacity": 0, "text-background-opacity": 0, width: 1.5 } },
    { selector: ".faded", style: { opacity: 0.1 } },
    { selector: "edge.near", style: { width: 3, "text-opacity": 1, "text-background-opacity": 1, "z-index": 9 } },
    { selector: "node.near", style: { "border-color": value("accent") } },
  ];
}
