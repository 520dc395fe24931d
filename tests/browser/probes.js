// What the tests ask of the page. Cytoscape.js keeps its graph at the element's `_cyreg`.
(() => {
  const element = document.getElementById("graph");
  const cy = () => element._cyreg.cy;
  const boxes = () => cy().nodes(".party, .collapsed").map((one) => one.renderedBoundingBox({ includeLabels: false }));
  const written = () => cy().edges().filter((one) => one.style("text-opacity") > 0);
  const inside = (one) => one.x1 >= 0 && one.y1 >= 0 && one.x2 <= cy().width() && one.y2 <= cy().height();
  const meet = (a, b) => a.x1 < b.x2 && b.x1 < a.x2 && a.y1 < b.y2 && b.y1 < a.y2;
  const frame = () => new Promise((done) => { requestAnimationFrame(done); });
  return {
    /** Where the box or arrow with a label is in the window. */
    at([selector, label]) {
      const one = cy().elements(selector).filter((some) => some.data("label").startsWith(label))[0];
      const { x, y } = one.isEdge() ? one.renderedMidpoint() : one.renderedPosition();
      const { x: left, y: top } = element.getBoundingClientRect();
      return [left + x, top + y];
    },
    labels: (selector) => cy().elements(selector).map((one) => one.data("label")),
    /** The names of the boxes, from left to right. */
    across: () => cy().nodes(".party").sort((a, b) => a.position("x") - b.position("x")).map((one) => one.data("box").party.name),
    style: ([selector, ...names]) => names.map((name) => cy().elements(selector)[0].style(name)),
    /** How many boxes there are, how many of them are wholly in view, the smallest letters on the screen, the labels at lines. */
    opened() {
      const drawn = cy().elements().map((one) => parseFloat(one.style("font-size")) * cy().zoom());
      const texts = [...document.querySelectorAll("body *")].filter((one) => one.checkVisibility() && one.innerText);
      const letters = texts.map((one) => parseFloat(getComputedStyle(one).fontSize));
      return [boxes().length, boxes().filter(inside).length, Math.min(...drawn, ...letters), written().length];
    },
    /** Whether all boxes and labels are in view, and none is over another. */
    apart() {
      const all = [...boxes(), ...written().map((one) => one.renderedBoundingBox({ includeNodes: false, includeEdges: false }))];
      return all.every(inside) && !all.some((one, n) => all.slice(n + 1).some((other) => meet(one, other)));
    },
    /** The source of the only arrow that is pointed out, if it is in view. */
    pointed() {
      const [edge, ...more] = cy().edges(".near"), { x, y } = edge.renderedMidpoint();
      return !more.length && inside({ x1: x, x2: x, y1: y, y2: y }) && edge.data("arrow").source.party.name;
    },
    /** Clicks or fills something: the seconds until that is painted, and how many graphs were replaced. */
    async painted([selector, value]) {
      let replaced = 0;
      if (element._cyreg) cy().on("destroy", () => { replaced += 1; });
      const started = performance.now(), one = document.querySelector(selector);
      if (value === null) one.click();
      else one.dispatchEvent(new Event("input", { bubbles: true }, one.value = value));
      await frame();
      await frame();
      return [(performance.now() - started) / 1000, replaced];
    },
  };
})()
