// What the page shows: the links, which of them pass the filters, and what is drawn for them.

const data = JSON.parse(document.getElementById("data").textContent);
const MATRIX_ABOVE = 60; // links
const SOON = 7 * 86400e3; // milliseconds
const WORST = ["blocked", "unknown", "passes"];
const made = Date.parse(data.made);

const parties = new Map();
const links = data.links.map((link, number) => {
  const mutual = link.ports === "mutual";
  const ends = [link.until, link.consent_until].filter(Boolean).sort()[0] || "";
  const effect = link.effect || "unknown";
  const words = [link.from_name, link.from, link.to_name, link.to, ...link.why, ...link.asked_by, ...link.reasons];
  return {
    ...link, number, mutual, ends, effect,
    soon: ends !== "" && Date.parse(ends) - made < SOON,
    source: party(link.from, link.from_account, link.from_name),
    target: party(link.to, link.to_account, link.to_name),
    words: words.join("\n").toLowerCase(),
  };
});

function party(id, account, name) {
  const key = `${id}@${account}`;
  if (!parties.has(key)) parties.set(key, { key, id, account, name: name || id });
  return parties.get(key);
}

const state = { text: "", party: "", account: "", port: "", effect: "", view: "", collapsed: new Set() };

function accountName(uid) {
  return data.accounts[uid] || uid;
}

/** The links that pass the filters. */
function visible() {
  const text = state.text.trim().toLowerCase();
  return links.filter((link) =>
    (!text || link.words.includes(text)) &&
    (!state.party || ends(link).some((one) => one.key === state.party)) &&
    (!state.account || ends(link).some((one) => one.account === state.account)) &&
    (!state.port || link.ports.split("+").includes(state.port)) &&
    (!state.effect || link.effect === state.effect));
}

function ends(link) {
  return [link.source, link.target];
}

/** The boxes and arrows for some links: a collapsed account is one box, and links between the same boxes are one arrow. */
function drawing(shown) {
  const boxes = new Map(), arrows = new Map();
  const box = (one) => {
    const account = state.collapsed.has(one.account);
    const key = account ? `account ${one.account}` : one.key;
    if (!boxes.has(key)) boxes.set(key, { key, account: one.account, party: account ? null : one, members: new Set(), inside: [] });
    boxes.get(key).members.add(one.key);
    return boxes.get(key);
  };
  for (const link of shown) {
    const source = box(link.source), target = box(link.target);
    if (source === target) {
      source.inside.push(link);
      continue;
    }
    const key = `${source.key} ${target.key} ${link.mutual}`;
    if (!arrows.has(key)) arrows.set(key, { key, source, target, mutual: link.mutual, links: [] });
    arrows.get(key).links.push(link);
  }
  return { boxes: [...boxes.values()], arrows: [...arrows.values()] };
}

/** The effect of the link that fares worst. */
function worst(some) {
  return WORST.find((effect) => some.some((link) => link.effect === effect));
}

function boxTitle(box) {
  return box.party ? box.party.name : accountName(box.account);
}

function arrowTitle(arrow) {
  if (arrow.links.length > 1) return `${arrow.links.length} links`;
  const [link] = arrow.links;
  const ports = link.ports.split("+");
  const text = link.mutual ? "everything" : ports.length > 2 ? `${ports.length} ports` : ports.join(", ");
  return link.soon ? `${text} · ${when(link.ends)}` : text;
}

function linkTitle(link) {
  return `${link.source.name} ${link.mutual ? "↔" : "→"} ${link.target.name}`;
}

/** How far off an instant is, as of the moment that the map was made. */
function when(instant) {
  const off = Date.parse(instant) - made;
  return off > 0 ? `ends in ${span(off)}` : `ended ${span(-off)} ago`;
}

function span(milliseconds) {
  for (const [unit, size] of [["d", 86400e3], ["h", 3600e3], ["min", 60e3]]) {
    if (milliseconds >= size) return `${Math.floor(milliseconds / size)} ${unit}`;
  }
  return `${Math.floor(milliseconds / 1000)} s`;
}

function counted(number, noun) {
  return `${number} ${noun}${number === 1 ? "" : "s"}`;
}
