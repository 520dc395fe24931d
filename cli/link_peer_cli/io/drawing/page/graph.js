// The graph: Cytoscape.js draws it, dagre places it.

let graph = null;

function drawGraph(shown) {
  const { boxes, arrows } = drawing(shown);
  const elements = [];
  const open = new Set(boxes.filter((box) => box.party).map((box) => box.account));
  for (const account of open) {
    elements.push({ data: { id: `account ${account}`, label: accountName(account) }, classes: "account" });
  }
  for (const box of boxes) {
    const parent = box.party ? `account ${box.account}` : undefined;
    elements.push({ data: { id: box.key, parent, label: boxLabel(box), box }, classes: box.party ? "party" : "collapsed" });
  }
  for (const arrow of arrows) {
    const classes = [worst(arrow.links)];
    if (arrow.mutual) classes.push("mutual");
    if (arrow.links.some((link) => link.soon)) classes.push("soon");
    if (arrows.length > MATRIX_ABOVE) classes.push("quiet");
    elements.push({
      data: { id: arrow.key, source: arrow.source.key, target: arrow.target.key, label: arrowTitle(arrow), arrow },
      classes,
    });
  }
  if (graph) graph.destroy();
  graph = cytoscape({
    container: document.getElementById("graph"), elements, style: graphStyle(), minZoom: 0.03, maxZoom: 2.5,
    boxSelectionEnabled: false, autounselectify: true,
    layout: {
      name: "dagre", rankDir: "LR", nodeSep: 26, rankSep: 170, edgeSep: 22, fit: false,
      ranker: arrows.length > 200 ? "longest-path" : "network-simplex",
    },
  });
  fitGraph();
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

function boxLabel(box) {
  if (!box.party) {
    const inside = box.inside.length ? `, ${counted(box.inside.length, "link")} inside` : "";
    return `${shortened(accountName(box.account))}\n${counted(box.members.size, "party").replace("partys", "parties")}${inside}`;
  }
  const { name, id } = box.party;
  return name === id ? id : `${shortened(name)}\n${id}`;
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
        width: 2, "curve-style": "bezier", "control-point-step-size": 56, "target-arrow-shape": "triangle", "arrow-scale": 1.1,
        label: "data(label)", "font-family": value("sans"), "font-size": 11, "text-background-color": value("bg"),
        "text-background-opacity": 1, "text-background-padding": 3, "text-background-shape": "round-rectangle",
      },
    },
    { selector: "edge.passes", style: line("accent", "solid") },
    { selector: "edge.unknown", style: line("unknown", "dotted") },
    { selector: "edge.blocked", style: line("blocked", "dashed") },
    { selector: "edge.soon", style: { color: value("soon") } },
    { selector: "edge.mutual", style: { "source-arrow-shape": "triangle" } },
    { selector: "edge.quiet", style: { "text-opacity": 0, "text-background-opacity": 0, width: 1.5 } },
    { selector: ".faded", style: { opacity: 0.1 } },
    { selector: "edge.near", style: { width: 3, "text-opacity": 1, "text-background-opacity": 1, "z-index": 9 } },
    { selector: "node.near", style: { "border-color": value("accent") } },
  ];
}
