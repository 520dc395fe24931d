// What the page shows: the links, which of them pass the filters, and what is drawn for them.

const data = JSON.parse(document.getElementById("data").textContent);
const MATRIX_ABOVE = 60; // links
const SOON = 7 * 86400e3; // milliseconds
const made = Date.parse(data.made);

const parties = new Map();
const links = data.links.map((link, number) => {
  const mutual = link.ports === "mutual";
  const ends = link.until;
  const effect = { open: "passes", closing: "passes", partly: "blocked", "half-open": "blocked" }[link.state] || link.state;
  const words = [link.from_name, link.from, link.to_name, link.to, ...link.claims, ...link.asked_by, ...link.reasons, ...link.by_address, link.deployment];
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

/** The links that pass the filters; first those that need a look: blocked, not known, ending soon. */
function visible() {
  const text = state.text.trim().toLowerCase();
  const wanted = named(state.party.trim());
  const found = links.filter((link) =>
    (!text || link.words.includes(text)) &&
    (!wanted || ends(link).some((one) => wanted.has(one))) &&
    (!state.account || ends(link).some((one) => one.account === state.account)) &&
    (!state.port || link.ports.split("+").includes(state.port)) &&
    (!state.effect || link.effect === state.effect));
  return found.sort((one, other) => urgency(one) - urgency(other) || one.number - other.number);
}

function urgency(link) {
  return ["blocked", "unknown"].indexOf(link.effect) + 1 || (link.soon ? 3 : 4);
}

/** The parties with this name or id, else those in whose name or id the text is; null for no text. */
function named(text) {
  if (!text) return null;
  const all = [...parties.values()];
  const exact = all.filter((one) => [one.name, one.id, one.key].includes(text));
  return new Set(exact.length ? exact : all.filter((one) => `${one.name} ${one.key}`.toLowerCase().includes(text.toLowerCase())));
}

function ends(link) {
  return [link.source, link.target];
}

/**
 * The boxes and arrows for some links. A collapsed account is one box; the links between it and another box are one arrow,
 * which has a head at each end that can be reached.
 */
function drawing(shown) {
  const boxes = new Map(), arrows = new Map();
  const box = (one) => {
    const account = state.collapsed.has(one.account);
    const key = account ? `account ${one.account}` : one.key;
    if (!boxes.has(key)) boxes.set(key, { key, account: one.account, party: account ? null : one, members: new Set(), inside: [] });
    boxes.get(key).members.add(one.key);
    return boxes.get(key);
  };
  const cells = new Map();
  const put = (source, target, link) => {
    const key = `${source.key} ${target.key}`;
    if (!cells.has(key)) cells.set(key, { key, source, target, mutual: false, links: [] });
    cells.get(key).links.push(link);
  };
  for (const link of shown) {
    const source = box(link.source), target = box(link.target);
    put(source, target, link);
    if (source === target) {
      source.inside.push(link);
      continue;
    }
    if (link.mutual) put(target, source, link);
    const folded = !source.party || !target.party;
    let key = `${source.key} ${target.key} ${folded || link.mutual}`;
    const back = `${target.key} ${source.key} true`;
    if (folded && arrows.has(back)) key = back;
    if (!arrows.has(key)) arrows.set(key, { key, source, target, mutual: link.mutual, links: [] });
    arrows.get(key).mutual ||= link.mutual || key === back;
    arrows.get(key).links.push(link);
  }
  return { boxes: [...boxes.values()], arrows: [...arrows.values()], cells: [...cells.values()] };
}

/** The effect of some links; `mixed` if they differ. */
function effectOf(some) {
  return some.every((link) => link.effect === some[0].effect) ? some[0].effect : "mixed";
}

function boxTitle(box) {
  return box.party ? box.party.name : accountName(box.account);
}

function arrowTitle(arrow) {
  if (arrow.links.length > 1) {
    const blocked = arrow.links.filter((link) => link.effect === "blocked").length;
    return counted(arrow.links.length, "link") + (blocked ? `, ${blocked} blocked` : "");
  }
  const [link] = arrow.links;
  const ports = link.ports.split("+");
  const text = link.mutual ? "everything" : ports.length > 2 ? `${ports.length} ports` : ports.join(", ");
  return link.soon ? `${text} · ${when(link.ends)}` : text;
}

function linkTitle(link) {
  return `${link.source.name} ${link.mutual ? "↔" : "→"} ${link.target.name}`;
}

/** An instant for people: 2026-11-26 14:05 UTC. */
function instant(text) {
  return text.replace(/^(.{10})T(.{5}).*Z$/, "$1 $2 UTC");
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
