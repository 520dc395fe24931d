// Where boxes stand and lines run. All sizes are in pixels of the screen: the graph opens at a zoom of 1.

const MARGIN = 14; // around all
const PADDING = 9; // between an account's frame and its boxes
const LEGIBLE = 10, LABEL = 11; // the smallest letters, and those at lines
const LABELLED = 30; // arrows: with more, what is written at one is only shown under the pointer

/** From roomy to dense: lines of text in a box, its height, the distance of rows, the widest box, the least gap, the letters. */
const DENSITIES = [
  { lines: 2, tall: 44, pitch: 74, wide: 206, gap: 150, size: 13 },
  { lines: 2, tall: 40, pitch: 58, wide: 196, gap: 90, size: 12 },
  { lines: 1, tall: 28, pitch: 44, wide: 190, gap: 90, size: 12 },
  { lines: 1, tall: 24, pitch: 34, wide: 176, gap: 64, size: 12 },
  { lines: 1, tall: 20, pitch: 28, wide: 150, gap: 46, size: 11 },
  { lines: 1, tall: 18, pitch: 24, wide: 120, gap: 34, size: 11 },
  { lines: 1, tall: 16, pitch: 20, wide: 112, gap: 20, size: 10 },
];

const DRAWN = 150; // arrows: with more, only those of the box under the pointer are drawn

const pen = document.createElement("canvas").getContext("2d");
pen.font = `100px ${getComputedStyle(document.body).fontFamily}`;

/** How wide a text is in letters of this size. */
function textWidth(text, size) {
  return (pen.measureText(text).width * size) / 100;
}

/** A text without its middle, as far as that is needed to fit: names often differ at their ends only. `tail`: the end's share. */
function fitted(text, room, size, tail = 0.6) {
  const letters = [...text];
  for (let kept = letters.length - 1; textWidth(text, size) > room && kept > 1; kept -= 1) {
    const end = Math.round(kept * tail);
    text = `${letters.slice(0, kept - end).join("")}…${letters.slice(letters.length - end).join("")}`;
  }
  return text;
}

/** How groups become columns: each is one; else some are several; else several groups share one. */
const WAYS = [{ whole: true }, {}, { shared: true }];

/** Places groups of boxes in columns: in the first way, and then the roomiest density, with which all are in view. */
function arrange(groups, width, height, widest) {
  const densities = DENSITIES.map((density) => ({ ...density, width, height, all: widest(density) + 20, wide: Math.min(density.wide, widest(density) + 20) }));
  for (const way of WAYS) {
    for (const density of densities) {
      const rows = Math.floor((height - 2 * MARGIN) / density.pitch);
      const columns = columnsOf(groups, rows, way);
      if (room(columns, density) <= width && columns.every((one) => one.length <= rows)) return { ...widened(density, columns), fits: true };
    }
  }
  const density = densities.at(-1);
  let rows = Math.floor((height - 2 * MARGIN) / density.pitch);
  const columns = () => columnsOf(groups, rows, { shared: true });
  while (columns().length > 1 && room(columns(), density) > width) rows += 1;
  return { ...widened(density, columns()), fits: false };
}

/** Boxes as wide as their names, where the columns leave room for that. */
function widened(density, columns) {
  const room = (density.width - 2 * PADDING) / columns.length - density.gap;
  return { ...density, columns, wide: 2 * Math.ceil(Math.min(density.all, Math.max(density.wide, room)) / 2) };
}

/** The width of columns, with half a gap beside the first and the last, for lines. */
function room(columns, { wide, gap }) {
  return columns.length * (wide + gap) + 2 * PADDING;
}

/** Columns of at most this many rows. A row is a box, or null for the title of a group. */
function columnsOf(groups, rows, { whole, shared }) {
  const columns = [];
  for (const { boxes } of groups) {
    const last = columns.at(-1);
    if (shared && last && last.length + 1 + boxes.length <= rows) {
      last.push(null, ...boxes);
      continue;
    }
    const most = Math.max(1, rows - 1);
    const each = whole ? boxes.length : Math.ceil(boxes.length / Math.ceil(boxes.length / most));
    for (let n = 0; n < boxes.length; n += each) columns.push([null, ...boxes.slice(n, n + each)]);
  }
  return columns;
}

/** The position of each box, by its key; the gap between columns; and the ys of the boxes of each column. `middle`: columns
 * are centred, else they start in one line. */
function positions(arranged, middle) {
  const { columns, wide, width, height } = arranged;
  const gap = 2 * Math.floor(Math.min(230, Math.max(arranged.gap, (width - 2 * PADDING) / columns.length - wide)) / 2);
  const most = Math.max(0, ...columns.map((boxes) => boxes.length));
  const pitch = Math.max(arranged.pitch, Math.min(1.4 * arranged.pitch, (height - 2 * MARGIN) / most));
  const y = (row, boxes) => Math.round((row + (middle ? (most - boxes.length) / 2 : 0)) * pitch);
  const places = new Map();
  columns.forEach((boxes, column) => boxes.forEach((box, row) => {
    if (box) places.set(box.key, { x: column * (wide + gap), y: y(row, boxes), column });
  }));
  const ys = columns.map((boxes) => boxes.flatMap((box, row) => (box ? [y(row, boxes)] : [])));
  return { places, gap, ys, pitch };
}

/**
 * The course of a line: the points that bend it. It leaves a box for the gap beside it, and crosses other columns between
 * two of their boxes. Within a column it runs on the right when it goes down and on the left when it goes up.
 */
function course(arrow, number, arranged, placed) {
  const { wide } = arranged, { gap, ys, pitch } = placed;
  const from = placed.places.get(arrow.source.key), to = placed.places.get(arrow.target.key);
  const right = from.column === to.column ? to.y > from.y : to.column > from.column;
  const step = right ? 1 : -1, shift = ((number % 5) - 2) * Math.min(7, gap / 9);
  const start = { x: from.x + (step * wide) / 2, y: from.y - 3 };
  if (from.column === to.column) {
    const end = { x: start.x, y: to.y + 3 };
    const bow = start.x + step * Math.min(gap * 0.6, 26 + Math.abs(to.y - from.y) / 5);
    return { start, end, points: [{ x: bow, y: start.y }, { x: bow, y: end.y }] };
  }
  const end = { x: to.x - (step * wide) / 2, y: to.y + 3 };
  const points = [];
  let y = start.y;
  for (let column = from.column; column !== to.column; column += step) {
    const x = column * (wide + gap) + (step * (wide + gap)) / 2 + shift;
    const next = column + step;
    const wanted = from.y + ((to.y - from.y) * (next - from.column)) / (to.column - from.column);
    const lane = next === to.column ? end.y : nearest(ys[next].flatMap((one) => [one - pitch / 2, one + pitch / 2]), wanted) + shift / 4;
    points.push({ x, y }, { x, y: lane });
    y = lane;
  }
  return { start, end, points };
}

const nearest = (some, wanted) => some.reduce((best, one) => (Math.abs(one - wanted) < Math.abs(best - wanted) ? one : best));

/** Points as Cytoscape.js takes them: how far along the straight line from start to end, and how far beside it. */
function bends({ start, end, points }) {
  const dx = end.x - start.x, dy = end.y - start.y, long = Math.hypot(dx, dy) || 1;
  return {
    weights: points.map(({ x, y }) => ((x - start.x) * dx + (y - start.y) * dy) / long ** 2),
    distances: points.map(({ x, y }) => ((y - start.y) * dx - (x - start.x) * dy) / long),
  };
}
