// What the page shows: links, people's rules and denied wishes, which of them pass the filters, and what is drawn for them.

const data = JSON.parse(document.getElementById("data").textContent);
const SOON = 7 * 86400e3; // milliseconds
const made = Date.parse(data.made);

/** How each state looks. `colour` is a variable of the style sheet, `dash` are the lengths of dashes and gaps. */
const STATES = {
  open: { colour: "accent", dash: [], sign: "", about: "open" },
  partly: { colour: "partly", dash: [11, 4], sign: "◐", about: "partly: some directions or ports pass" },
  blocked: { colour: "blocked", dash: [5, 4], sign: "×", about: "blocked by another rule" },
  "half-open": { colour: "half", dash: [9, 3, 2, 3], sign: "½", about: "half-open: one side lacks its rule" },
  closing: { colour: "closing", dash: [2, 5], sign: "–", about: "closing at the next sweep" },
  unknown: { colour: "unknown", dash: [2, 3], sign: "?", about: "not known" },
  denied: { colour: "denied", dash: [1, 6], sign: "⊘", about: "denied: no rule" },
};
const ADDRESSES = "addresses"; // instead of an account: where ranges and prefix lists stand
const URGENT = ["blocked", "partly", "half-open", "closing", "unknown"]; // listed first

const collator = new Intl.Collator("en", { numeric: true });
const byId = (id) => document.getElementById(id);
const parties = new Map();
const EMPTY = { state_detail: "", since: "", until: "", claims: [], deployment: "", asked_by: [], reasons: [], consent: [], written: "", by_address: [], rules: [] };
const links = [
  ...data.links.map((link) => ({ ...link, kind: "link", made_by: "link-peer" })),
  ...data.rules.filter((rule) => rule.made_by === "person").map((rule) => ({ ...EMPTY, ...rule, kind: "rule", ports: rule.ports || "a port list" })),
  ...data.denied.map((wish) => ({ ...EMPTY, ...wish, kind: "wish", made_by: "", state: "denied", ports: wish.ports || "unreadable", state_detail: `${wish.reason}: ${wish.detail}` })),
].map((link, number) => ({
  ...link, number,
  mutual: link.ports === "mutual",
  soon: link.until !== "" && Date.parse(link.until) - made < SOON,
  source: party(link.from, link.from_account, link.from_name),
  target: party(link.to, link.to_account, link.to_name),
  words: [link.from_name, link.from, link.to_name, link.to, ...link.claims, ...link.asked_by, ...link.reasons,
    ...link.by_address, link.deployment, link.rule_id, link.description, link.kind === "wish" ? link.reason : ""].join("\n").toLowerCase(),
}));

function party(id, account, name) {
  const key = account ? `${id}@${account}` : id;
  if (!parties.has(key)) parties.set(key, { key, id, account: account || ADDRESSES, name: name || id });
  return parties.get(key);
}

/** What a person chose: the filters, the view, and the accounts that are drawn as one box. */
const chosen = { text: "", party: "", account: "", port: "", state: "", made_by: "", view: "graph", collapsed: new Set() };

const accountName = (uid) => data.accounts[uid] || uid;

/** The links that pass the filters; first those that need a look: not open, or ending soon. */
function visible() {
  const text = chosen.text.trim().toLowerCase();
  const wanted = named(chosen.party.trim());
  const found = links.filter((link) =>
    (!text || link.words.includes(text)) &&
    (!wanted || ends(link).some((one) => wanted.has(one))) &&
    (!chosen.account || ends(link).some((one) => one.account === chosen.account)) &&
    (!chosen.port || link.ports.split("+").includes(chosen.port)) &&
    (!chosen.state || link.state === chosen.state) &&
    (!chosen.made_by || link.made_by === chosen.made_by));
  return found.sort((one, other) => urgency(one) - urgency(other) || one.number - other.number);
}

const urgency = (link) => (link.kind === "link" ? 0 : 10) + stateUrgency(link);
const stateUrgency = (link) => URGENT.indexOf(link.state) + 1 || URGENT.length + (link.soon ? 1 : 2);

/** The party whose neighbourhood is shown: the one that the filter names, if it is one. */
function focused() {
  const wanted = named(chosen.party.trim());
  return wanted && wanted.size === 1 ? [...wanted][0] : null;
}

/** The parties with this name or id, else those in whose name or id the text is; null for no text. */
function named(text) {
  if (!text) return null;
  const all = [...parties.values()];
  const exact = all.filter((one) => [one.name, one.id, one.key].includes(text));
  return new Set(exact.length ? exact : all.filter((one) => `${one.name} ${one.key}`.toLowerCase().includes(text.toLowerCase())));
}

const ends = (link) => [link.source, link.target];

/**
 * The boxes and arrows for some links, by account, then name. A collapsed account is one box, but not around a party that is
 * looked at; the links between it and another box are one arrow, which has a head at each end that can be reached.
 */
function drawing(shown) {
  const centre = focused();
  const boxes = new Map(), arrows = new Map();
  const box = (one) => {
    const account = !centre && chosen.collapsed.has(one.account);
    const key = account ? `account ${one.account}` : one.key;
    if (!boxes.has(key)) boxes.set(key, { key, account: one.account, party: account ? null : one, members: new Set(), inside: [] });
    boxes.get(key).members.add(one.key);
    return boxes.get(key);
  };
  const cells = new Map();
  const put = (into, key, source, target, link) => {
    if (!into.has(key)) into.set(key, { key, source, target, mutual: false, links: [] });
    into.get(key).links.push(link);
    return into.get(key);
  };
  for (const link of shown) {
    const source = box(link.source), target = box(link.target);
    put(cells, `${source.key} ${target.key}`, source, target, link);
    if (source === target) {
      source.inside.push(link);
      continue;
    }
    if (link.mutual) put(cells, `${target.key} ${source.key}`, target, source, link);
    const folded = !source.party || !target.party;
    let key = `${link.kind} ${source.key} ${target.key} ${folded || link.mutual}`;
    const back = `${link.kind} ${target.key} ${source.key} true`;
    if (folded && arrows.has(back)) key = back;
    put(arrows, key, source, target, link).mutual ||= link.mutual || key === back;
  }
  const place = (one) => [accountName(one.account), one.account, boxTitle(one), one.key].join("\n");
  const ordered = [...boxes.values()].sort((one, other) => collator.compare(place(one), place(other)));
  return { boxes: ordered, arrows: [...arrows.values()], cells: [...cells.values()] };
}

/** The state of some links; `mixed` if they differ. */
function stateOf(some) {
  return some.every((link) => link.state === some[0].state) ? some[0].state : "mixed";
}

/** The kind of these arrows, if they have the same. */
const kindOf = (arrows) => (arrows.every((arrow) => arrow.kind === arrows[0].kind) ? arrows[0].kind : "arrow");
const NOUNS = {
  link: ["link", "links"], rule: ["rule of a person", "rules of people"], wish: ["denied wish", "denied wishes"], arrow: ["link or rule", "links and rules"],
};
const counted = (number, noun, more = `${noun}s`) => `${number} ${number === 1 ? noun : more}`;
const countedKind = (number, kind) => counted(number, ...NOUNS[kind]);

const boxTitle = (box) => box.party ? box.party.name : accountName(box.account);

function arrowTitle(arrow) {
  if (arrow.links.length > 1) {
    const blocked = arrow.links.filter((link) => link.state === "blocked").length;
    return countedKind(arrow.links.length, kindOf(arrow.links)) + (blocked ? `, ${blocked} blocked` : "");
  }
  const [link] = arrow.links;
  const ports = link.ports.split("+");
  const facts = [ports.length > 2 ? `${ports.length} ports` : ports.join(", ")];
  if (link.written === "by address") facts.push(link.written);
  if (link.soon) facts.push(when(link.until));
  return facts.join(" · ");
}

function arrowEnds(arrow) {
  return `${boxTitle(arrow.source)} ${arrow.mutual ? "↔" : "→"} ${boxTitle(arrow.target)}`;
}

const linkTitle = (link) => `${link.source.name} ${link.mutual ? "↔" : "→"} ${link.target.name}`;

/** An instant for people: 2026-11-26 14:05 UTC. */
const instant = (text) => text.replace(/^(.{10})T(.{5}).*Z$/, "$1 $2 UTC");

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
