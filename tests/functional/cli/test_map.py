"""`link-peer map` draws the links that are open."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from pathlib import Path
from xml.etree import ElementTree

from link_peer_cli.answers.links import LinkArrow
from link_peer_cli.ui.drawing.figures import mermaid, svg
from msgspec.structs import replace

from tests.functional.command import Cli
from tests.functional.lab import HOME, PEER, Lab

SVG = "{http://www.w3.org/2000/svg}"


def linked(lab: Lab) -> tuple[str, str, str]:
    """app reaches db on two ports because of a tag; app and ledger, in the other account, are linked by a request."""
    app, db, ledger = lab.group(f"*@{PEER}"), lab.group("*"), lab.group(f"*@{HOME}", account=PEER)
    lab.auto_link(lab.event(lab.instance(app, tags={"link-peer": f"{db.id}:tcp/3306+icmp"})))
    lab.cross_account(lab.request(app, ledger))
    return app.id, db.id, ledger.id


def test_links_rules_of_people_and_denied_wishes_are_told_apart(lab: Lab, cli: Cli, tmp_path: Path) -> None:
    """A link is one arrow, with its ports, claims and state, a mutual one with two heads. A drop is none. Figures draw
    links alone."""
    app, db, ledger = linked(lab)
    source, guarded, open_group = lab.group(), lab.group(), lab.group()
    wide = {"IpProtocol": "TCP", "PortRange": "22/22", "SourceCidrIp": "10.0.0.0/8"}
    ops = lab.authorize(open_group, **wide)
    lab.authorize(guarded, **wide, Policy="drop")
    lab.instance(source, tags={"link-peer": f"{guarded.id}:tcp/22,not:a:peer"})
    code, arrows = cli.json("map")
    assert code == 0
    _, links = cli.json("links")
    arrow_fields = sorted(
        (a["from"], a["from_account"], a["to"], a["to_account"], a["ports"], a["claims"], a["state"])
        for a in arrows
        if a["made_by"] == "link-peer"
    )
    mutual = (app, HOME, ledger, PEER, "mutual", ["chg-1"], "open")
    assert arrow_fields == sorted([(app, HOME, db, HOME, "icmp+tcp/3306", ["tag"], "open"), mutual])
    assert [link["state"] for link in links] == ["open", "open"]
    [people] = [a for a in arrows if a["made_by"] == "person"]
    assert (people["from"], people["ports"], people["state"]) == ("10.0.0.0/8", "tcp/22", "open")
    denied = {a["to"]: (a["from"], a["state"], a["state_detail"].partition(":")[0]) for a in arrows if not a["made_by"]}
    assert denied == {
        guarded.id: (source.id, "denied", "no-consent"),
        "not:a:peer": (source.id, "denied", "bad-tag"),
    }
    path = tmp_path / "map.json"
    assert cli("map", "--out", str(path)) == 0
    document = json.loads(path.read_text(encoding="utf-8"))
    assert {rule["rule_id"] for rule in document["rules"] if rule["made_by"] == "person"} == {ops}
    rule_ids = {rule["rule_id"] for link in links for rule in link["rules"]}
    assert {rule["rule_id"] for rule in document["rules"] if rule["made_by"] == "link-peer"} == rule_ids
    [wish] = [wish for wish in document["denied"] if wish["to"] == guarded.id]
    assert (wish["reason"], wish["ports"], "link-peer accept" in wish["advice"]) == ("no-consent", "tcp/22", True)
    assert cli("map") == 0
    assert (app in cli.out, "10.0.0.0/8" in cli.out, guarded.id in cli.out) == (True, False, False)


def test_figures_have_names_states_and_what_is_by_address() -> None:
    """An account is a subgraph. A link that is not open is dashed, in another colour; an SVG has the id in the tooltip
    of a box."""
    opened = LinkArrow(
        "sg-app", HOME, "<app>", "sg-db", HOME, "", "tcp/1", "open", ["tag"], "by reference", "", "link-peer", ""
    )
    closed, odd = replace(opened, state="blocked", written="by address"), replace(opened, state="odd", ports="mutual")
    arrows = [opened, closed, odd]
    flow, drawn = mermaid(arrows, {HOME: "a@aliyun.com"}), svg(arrows, {})
    assert flow.startswith(f'flowchart LR\n  subgraph a{HOME}["{HOME} a@aliyun.com"]\n')
    lines = ['["&lt;app&gt;<br/>sg-app"]', '["sg-db"]', '0 -->|"tcp/1"| n1', '0 -.->|"tcp/1 (blocked, by address)"| n1']
    assert all(line in flow for line in lines)
    assert 'n0 <-.->|"mutual (odd)"| n1\n  linkStyle 2 stroke:#7a6ba8\n' in flow
    assert re.findall(r'stroke="(#\w+)"( stroke-d)?', drawn) == [
        ("#06c", ""),
        ("#c8321f", " stroke-d"),
        ("#7a6ba8", " stroke-d"),
    ]
    assert ("tcp/1 (blocked, by address)" in drawn, f"&lt;app&gt;<title>sg-app@{HOME}" in drawn) == (True, True)


def test_svg_is_well_formed_and_nothing_in_it_overlaps(lab: Lab, cli: Cli, tmp_path: Path) -> None:
    """One box per party, all inside the drawing; one path per arrow; labels are apart also where curves cross or join
    the same boxes. A long list of ports is shortened. The background is white."""
    groups = [lab.group("*", f"*@{PEER}") for _ in range(3)]
    other_groups = [lab.group("*", f"*@{HOME}", account=PEER) for _ in range(3)]
    many = [f"tcp/{port}" for port in range(8001, 8006)]
    lab.cross_account(
        *(
            lab.request(a, b, *ports, request_id=f"chg-{n}-{m}-{k}")
            for n, a in enumerate(groups)
            for m, b in enumerate([*other_groups, *groups])
            for k, ports in enumerate((["tcp/22"], many))
            if a.id != b.id
        )
    )
    path = tmp_path / "map.svg"
    assert cli("map", "--out", str(path)) == 0
    root = ElementTree.fromstring(path.read_text(encoding="utf-8"))  # noqa: S314  # our own output
    width, height = (int(root.attrib[name]) for name in ("width", "height"))
    boxes = [
        tuple(int(rect.attrib[name]) for name in ("x", "y", "width", "height"))
        for rect in root.iter(f"{SVG}rect")
        if rect.attrib["class"] == "p"
    ]
    assert len({(x, y) for x, y, _, _ in boxes}) == len(boxes) == 6
    assert all(x + w <= width and y + h <= height for x, y, w, h in boxes)
    assert len([path for path in root.iter(f"{SVG}path") if path.attrib.get("class") == "e"]) == 30
    labels = [
        (int(t.attrib["x"]), int(t.attrib["y"]), t.text or "")
        for t in root.iter(f"{SVG}text")
        if t.attrib.get("class") == "l"
    ]
    assert {text for _, _, text in labels} == {"tcp/22", "5 ports"}
    assert len(labels) == 30
    for number, (x, y, text) in enumerate(labels):
        assert y < height
        for other_x, other_y, other_text in labels[:number]:
            assert abs(y - other_y) >= 12 or abs(x - other_x) >= 3 * (len(text) + len(other_text))
    background = next(root.iter(f"{SVG}rect")).attrib
    assert (background["width"], background["height"]) == (root.attrib["width"], root.attrib["height"])


def test_the_page_holds_every_link_with_its_story(lab: Lab, cli: Cli, tmp_path: Path) -> None:
    """As `link-peer links --json` has it, in JSON that no name can end; the format is that of the file's suffix."""
    app, db, _ = linked(lab)
    evil = "</script><script>alert(1)</script>"
    lab.instance(lab.group("*", name=evil), tags={"link-peer": f"{db}:tcp/22"})
    lab.sweep()
    path = tmp_path / "map.html"
    assert cli("map", "--out", str(path)) == 0
    page = path.read_text(encoding="utf-8")
    [embedded] = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page)
    document = json.loads(embedded)
    assert cli("map", "--out", str(tmp_path / "map.json")) == 0
    assert json.loads((tmp_path / "map.json").read_text(encoding="utf-8")) == document
    code, links = cli.json("links")
    assert (code, document["problems"]) == (0, [])
    assert sorted(document["links"], key=json.dumps) == sorted(links, key=json.dumps)
    assert (document["made"], document["accounts"][HOME]) == ("2026-11-25T00:00:00Z", "a@aliyun.com")
    assert evil in {link["from_name"] for link in links}
    assert evil not in page
    assert ("icmp+tcp/3306", app) in {(link["ports"], link["from"]) for link in links}


def test_the_page_loads_nothing_and_runs_only_its_own_scripts(lab: Lab, cli: Cli) -> None:
    """The policy in it names the hash of each of its scripts, and allows nothing else."""
    linked(lab)
    assert cli("map", "--format", "html") == 0
    [policy] = re.findall(r'Content-Security-Policy" content="(.*?)"', cli.out)
    scripts = re.findall(r"<script>(.*?)</script>", cli.out, re.DOTALL)
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in scripts]
    sources = " ".join(f"'sha256-{value}'" for value in hashes)
    assert len(hashes) == 2
    assert policy == f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src {sources}"
    assert " src=" not in cli.out.partition("<script")[0]


def test_without_links_the_drawing_is_empty(lab: Lab, cli: Cli) -> None:
    """In every format; what tags ask for in vain is counted."""
    app, db = lab.group(), lab.group()
    for form in ("mermaid", "svg", "html", "json"):
        assert cli("map", "--format", form) == 0
        assert cli.out
        assert "Tags ask" not in cli.err
    lab.instance(app, tags={"link-peer": f"{db.id}:tcp/1"})
    assert cli("map") == 0
    assert "No links. Tags ask for 1 link without success: link-peer doctor says why." in cli.err
    assert (cli("map", "--out", "/nowhere/map.svg"), cli.err) == (
        1,
        "/nowhere/map.svg cannot be written: No such file or directory\n",
    )
