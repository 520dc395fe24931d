"""`plan <instance> --tag`: what would change if its tags were so, which is what then happens."""

from __future__ import annotations

import pytest

from tests.functional.command import Cli
from tests.functional.lab import HOME, PEER, Lab

pytestmark = [pytest.mark.usefixtures("accesses"), pytest.mark.knobs(request_tags=True)]


def outcomes(records: list[dict[str, str]]) -> set[tuple[str, ...]]:
    return {tuple(record[name] for name in ("outcome", "reason", "from", "to", "ports")) for record in records}


@pytest.mark.parametrize("value", ["{0}:tcp/2", "{0}:tcp/1,{1}:tcp/3", "{0}", "{2}:tcp/1", "", "nonsense"])
def test_what_a_tag_would_change_is_what_it_changes(lab: Lab, cli: Cli, value: str) -> None:
    """Opened, denied and closed, in another account too; the preview changes nothing."""
    app, db, cache = lab.group("*"), lab.group("*"), lab.group("*:tcp/3")
    ledger = lab.group(f"*@{HOME}:tcp/1", account=PEER)
    instance = lab.instance(app, tags={"link-peer": f"{db.id}:tcp/1"})
    assert lab.auto_link(lab.event(instance)) == {"applied": 1}
    tag, groups = value.format(db.id, cache.id, f"{ledger.id}@{PEER}"), (app, db, cache, ledger)
    before, record_count = [lab.rules(group) for group in groups], len(lab.records())
    _, [preview] = cli.json("plan", instance.id, "--tag", f"link-peer={tag}")
    assert ([lab.rules(group) for group in groups], len(lab.records())) == (before, record_count)
    lab.retag(instance, link_peer=tag or None)
    if messages := lab.queued():
        lab.cross_account(*messages)
    assert outcomes(preview["decisions"]) == outcomes(lab.records()[record_count:])
    assert preview["decisions"]


@pytest.mark.parametrize("value", ["", "{}@{}:tcp/2"])
def test_what_a_tag_no_longer_asks_for_in_another_account_is_closed(lab: Lab, cli: Cli, value: str) -> None:
    """No event tells that account: a sync about a tag that still names the pair does, else the next full sweep."""
    app, ledger = lab.group(), lab.group(f"*@{HOME}:tcp/1+tcp/2", account=PEER)
    instance = lab.instance(app, tags={"link-peer": f"{ledger.id}@{PEER}:tcp/1"})
    lab.auto_link(lab.event(instance))
    lab.drain()
    rules, record_count = lab.rules(ledger), len(lab.records())
    assert len(rules) == 1
    tag = value.format(ledger.id, PEER)
    _, [preview] = cli.json("plan", instance.id, "--tag", f"link-peer={tag}")
    assert (lab.rules(ledger), len(lab.records())) == (rules, record_count)
    lab.retag(instance, link_peer=tag or None)
    lab.drain()
    lab.sweep()
    assert outcomes(preview["decisions"]) == outcomes(
        [record for record in lab.records()[record_count:] if record["record"] == "outcome"]
    )
    assert ("removed", "", app.id, ledger.id, "tcp/1") in outcomes(preview["decisions"])


@pytest.mark.parametrize(
    ("args", "problem"),
    [
        (("i-a", "--tag", "link-peer"), "is not KEY=VALUE"),
        (("i-a", "--tag", "=x"), "is not KEY=VALUE"),
        (("i-a", "--tag", f"k={'v' * 129}"), "is not KEY=VALUE"),
        (("events/none.json", "--tag", "k=v"), "only with an instance"),
        (("--policy", "policy.yaml", "--tag", "k=v"), "only with an instance"),
        (("i-a", "--tag", "k=v", "--out", "plan.json"), "cannot be applied"),
    ],
)
def test_what_cannot_be_supposed_is_refused(cli: Cli, args: tuple[str, ...], problem: str) -> None:
    assert cli("plan", *args) == 2
    assert problem in cli.err
