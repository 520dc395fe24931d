// The panel: what a click tells. All text is set as text, never as markup.

const story = byId("story");
const LISTED = 300;

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

/** What the panel shows while no link is clicked: the party that is looked at, or all. */
function overview() {
  const centre = focused();
  if (centre) showBox({ party: centre, account: centre.account, key: centre.key });
  else showAll();
}

function tell(shows, ...children) {
  story.dataset.shows = shows;
  story.replaceChildren(...children);
  story.scrollTop = 0;
}

/** The accounts, and the links that pass the filters. */
function showAll() {
  const shown = visible();
  const accounts = [...new Set(shown.flatMap((link) => ends(link).map((one) => one.account)))];
  accounts.sort((one, other) => collator.compare(accountName(one), accountName(other)));
  const rows = accounts.map((account) => {
    const members = new Set(shown.flatMap(ends).filter((one) => one.account === account));
    const textContent = chosen.collapsed.has(account) ? "Expand" : "Collapse";
    const ariaLabel = `${textContent} ${accountName(account)}`;
    const button = element("button", { type: "button", textContent, ariaLabel, onclick: () => toggle(account) });
    const about = element("span", {}, accountName(account), element("small", { textContent: `${account} · ${members.size} linked` }));
    return element("div", { className: "account" }, about, button);
  });
  tell("all", element("h2", { textContent: "Accounts" }), ...rows, ...lists(shown));
}

/** A list for each kind that there is. */
function lists(arrows) {
  return [["link", "Links"], ["rule", "Rules of people"], ["wish", "Denied wishes"]].flatMap(([kind, title]) => {
    const listed = arrows.filter((arrow) => arrow.kind === kind);
    return listed.length ? linkList(listed, title) : [];
  });
}

function linkList(some, title) {
  const more = some.length > LISTED ? [element("p", { textContent: `and ${some.length - LISTED} more: search or filter` })] : [];
  return [element("h3", { textContent: `${title} (${some.length})` }), ...some.slice(0, LISTED).map(linkRow), ...more];
}

function linkRow(link) {
  const facts = element("small", {}, link.ports.replaceAll("+", ", "));
  if (link.state !== "open") facts.append(" · ", element("span", { className: link.state, textContent: link.state }));
  if (link.until) facts.append(" · ", element("span", { className: link.soon ? "soon" : "", textContent: when(link.until) }));
  const row = element("button", { type: "button", className: "row" }, linkTitle(link), facts);
  row.onclick = () => {
    showLinks(linkTitle(link), [link]);
    if (byId("matrix").hidden) pointOutInGraph(link);
    else pointOutInMatrix(link);
  };
  return row;
}

function backButton(text, back) {
  return element("button", { type: "button", className: "back", textContent: `← ${text}`, title: "Escape", onclick: back });
}

/** A party with its links, or a collapsed account. */
function showBox(box) {
  const near = visible().filter((arrow) => ends(arrow).some((end) => owns(box, end)));
  const mine = near.filter((arrow) => arrow.kind === "link");
  const back = box.party ? backButton("All groups", () => setFilter("party", "")) : backButton("All links", overview);
  tell(box.party ? "party" : "account", back, element("h2", { textContent: boxTitle(box) }),
    element("p", {}, element("code", { textContent: box.party ? box.party.id : box.account })),
    element("p", { textContent: accountName(box.account) }));
  if (!box.party) {
    story.append(element("p", {}, element("button", { type: "button", textContent: "Expand", onclick: () => toggle(box.account) })));
  }
  if (box.party) story.append(element("p", { id: "reached", textContent: rulesInWords(box.party) }));
  const leaving = mine.filter((link) => !link.mutual && owns(box, link.source));
  const arriving = mine.filter((link) => !link.mutual && owns(box, link.target));
  const mutual = mine.filter((link) => link.mutual);
  for (const [title, some] of [["May reach", leaving], ["May be reached by", arriving], ["Mutual", mutual]]) {
    if (some.length) story.append(...linkList(some, title));
  }
  story.append(...lists(near.filter((arrow) => arrow.kind !== "link")));
}

/** How many rules let somebody reach a party, whatever the filters are: as `link-peer who` lists them. */
function rulesInWords({ key }) {
  const rules = data.rules.filter((rule) => `${rule.to}@${rule.to_account}` === key);
  const by = (maker) => rules.filter((rule) => rule.made_by === maker).length;
  const unread = by("") ? `; ${by("")} not read` : "";
  return `${counted(rules.length - by(""), "rule admits somebody", "rules admit somebody")}: ${by("link-peer")} of link-peer, ${by("person")} of people${unread}`;
}

const owns = (box, one) => box.party ? one === box.party : one.account === box.account;

/** The whole story of some links. */
function showLinks(title, some) {
  const centre = focused();
  tell("links", backButton(centre ? centre.name : "All links", overview), element("h2", {}, ...breakable(title)));
  if (some.length > 1) story.append(...lists(some));
  else story.append(linkStory(some[0]));
}

function linkStory(link) {
  const side = (one) => [one.name === one.id ? "" : one.name, element("code", { textContent: one.id }), accountName(one.account)];
  const state = element("span", { className: link.state, textContent: link.state });
  const consent = link.consent.map((entry, n) => `${entry}, by ${link.consented_by[n]}`);
  const list = element("dl");
  for (const [term, lines] of [
    ["From", side(link.source)],
    ["To", side(link.target)],
    ["Ports", [link.mutual ? "mutual: all, in both directions" : link.ports.replaceAll("+", ", ")]],
    ["State", [state, link.state_detail]],
    ["Claims", link.claims.map((claim) => (claim === "tag" ? "tag of an instance" : `request ${claim}`))],
    ["Deployment", [link.deployment && `${link.deployment}, which is not this one`]],
    ["Asked by", link.asked_by],
    ["Reason", link.reasons],
    ["Since", [instant(link.since), link.since && `${span(made - Date.parse(link.since))} old`]],
    ["Until", link.kind !== "link" ? [] : link.until ? [instant(link.until), when(link.until)] : [link.state === "closing" ? "the next sweep" : "open-ended"]],
    ["Consent", link.kind !== "link" ? [] : consent.length ? consent : ["none covers it now"]],
    ["Made by", link.kind === "rule" ? ["a person", link.description] : []],
    ["Rule", link.rule_id ? [element("code", { textContent: link.rule_id }), `of ${link.group}`] : []],
    ["To resolve", [link.advice]],
    ["Written", [link.written, link.written_detail]],
    ["Instances", [typeof link.instances === "number" ? `${counted(link.instances, "instance")} let through` : "", ...link.by_address]],
    ["Rules", link.rules.map((rule) => element("code", { textContent: rule.rule_id }))],
  ]) {
    const shown = lines.filter(Boolean).map((line) => element("div", {}, ...breakable(line)));
    if (shown.length) list.append(element("dt", { textContent: term }), element("dd", {}, ...shown));
  }
  return element("article", {}, list);
}

/** A text that is broken at spaces, before `@` and after `=`, but not in an id. */
function breakable(line) {
  if (typeof line !== "string") return [line];
  return line.split(/(?=@)|(?<=[\s=])/).flatMap((part) =>
    [element("wbr"), element("span", { className: part.length < 32 ? "whole" : "", textContent: part })]);
}

/** A line about what the pointer is on. */
function hint(subject) {
  const box = (one) => (one.party ? `${one.party.name} (${one.party.key})` : accountName(one.account));
  const arrow = ({ links: some }) => `${arrowEnds(subject)}: ${arrowTitle(subject)}, ${stateOf(some)}`;
  byId("hint").textContent = subject ? (subject.links ? arrow : box)(subject) : "";
}
