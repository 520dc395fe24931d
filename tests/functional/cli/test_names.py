"""An account is given by its name in the policy as well as by its uid, in every command."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from link_peer.domain.errors import BadInput
from link_peer_cli.access.inputs import with_uid

from tests.functional.command import Cli
from tests.functional.lab import HOME, PEER, POLICY, Lab

NAME = "b@aliyun.com"
"""The name of PEER in the lab's policy: the first `@` of `sg-1@b@aliyun.com` ends the id."""


def test_every_command_takes_names(lab: Lab, cli: Cli) -> None:
    """The answers are the same as for the uid."""
    app, db = lab.group(f"*@{PEER}"), lab.group(account=PEER)
    for shape in (
        "links --account {}",
        f"links --party {db.id}@{{}}",
        f"explain {app.id} {db.id}@{{}} tcp/1",
        "doctor {}",
        "sweep --dry-run --believe-empty {}",
        f"close {db.id}@{{}} --dry-run",
        "close --account {} --dry-run",
        "reopen --account {} --dry-run",
        f"accept {app.id} *@{{}}:tcp/1 --dry-run",
        f"accept {db.id}@{{}} *@{HOME}:tcp/1 --dry-run",
        f"withdraw {app.id} *@{{}} --dry-run",
        "audit --party *@{}",
        f"audit --party {db.id}@{{}}",
        "account remove {} --dry-run",
        "plan i-1@{}",
        "account add {}",
    ):
        answers = [
            (cli(*shape.format(account).split()), cli.out.replace(NAME, PEER), cli.err.replace(NAME, PEER))
            for account in (PEER, NAME)
        ]
        assert answers[0] == answers[1], shape
        assert "no account" not in answers[0][2], shape


def test_every_command_takes_the_policys_names_of_parties(lab: Lab, cli: Cli) -> None:
    """The answers are the same as for the id, and a name of the policy comes before a group of that name."""
    app, db = lab.group(f"*@{PEER}"), lab.group(account=PEER)
    one, _ = lab.instance(app), lab.group(name="ledger")
    named = {"app": f"{app.id}@{HOME}", "ledger": f"{db.id}@{PEER}", "node": f"{one.id}@{HOME}"}
    lab.policy(names=named)
    ids = dict(zip(("app", "ledger", "node"), named.values(), strict=True))
    for shape in (
        "links --party {ledger}",
        "explain {app} {ledger} tcp/1",
        "explain {node} {ledger}",
        "close {app} --dry-run",
        "reopen {app} --dry-run",
        "accept {app} {ledger}:tcp/1~20990101T000000Z --dry-run",
        "audit --party {ledger}",
        "plan {node}",
        "verify --from {node} --to {ledger}",
        "request link --from {app} --to {ledger} --port tcp/1 --request-id r-1 --dry-run",
        "adopt sgr-1 --group {ledger} --dry-run",
        "adopt sgr-1 --as tag --instance {node} --dry-run",
    ):
        answers = [(cli(*shape.format(**given).split()), cli.out, cli.err) for given in (ids, {n: n for n in named})]
        assert answers[0] == answers[1], shape
        assert "name of the policy" not in answers[0][2], shape


BY_CLOUD_NAME = (
    "links --party {ledger}",
    "who {ledger} --port tcp/1",
    "explain {app} {ledger} tcp/1",
    "verify --from {node} --to {ledger}",
    "close {app} --dry-run",
    "withdraw {app} *@b@aliyun.com --dry-run",
    "audit --party {ledger}",
    "plan {node}",
)
BY_ID_ALONE = (
    "accept {app} {ledger}:tcp/1 --dry-run",
    "accept {id} {ledger}:tcp/1 --dry-run",
    "reopen {app} --dry-run",
    "request link --from {app} --to {id} --port tcp/1 --dry-run",
    "adopt sgr-1 --group {app} --dry-run",
    "adopt sgr-1 --as tag --instance {node} --dry-run",
)
"""What opens: whoever may rename a group would choose which one is opened."""


def test_names_of_the_cloud_count_wherever_nothing_is_opened(lab: Lab, cli: Cli) -> None:
    """The answers are the same as for the id, also with an account. A name of several parties is refused, with their ids."""
    app, db = lab.group(f"*@{PEER}", name="app"), lab.group(account=PEER, name="ledger")
    node = lab.instance(app, name="node")
    ids = {"app": f"{app.id}@{HOME}", "ledger": f"{db.id}@{PEER}", "node": f"{node.id}@{HOME}"}
    for names in ({one: one for one in ids}, {"app": "app@a@aliyun.com", "ledger": f"ledger@{PEER}", "node": "node"}):
        for shape in BY_CLOUD_NAME:
            answers = [(cli(*shape.format(**given).split()), cli.out, cli.err) for given in (ids, names)]
            assert answers[0] == answers[1], shape
            assert "does not exist" not in answers[0][2], shape
    others = lab.group(name="app"), lab.group(name="ledger"), lab.instance(app, name="node")
    for shape in BY_CLOUD_NAME:
        assert cli(*shape.format(app="app", ledger="ledger", node="node").split()) == 2, shape
        assert "is the name of " in cli.err, shape
        assert any(one.id in cli.err for one in others), shape
    for shape in BY_ID_ALONE:
        assert cli(*shape.format(app="app", ledger="ledger", node="node", id=app.id).split()) in (1, 2), shape
        assert "is the name of " not in cli.err, shape


def test_a_plan_of_a_policy_says_which_names_it_changes(lab: Lab, cli: Cli, tmp_path: Path) -> None:
    """Tags that give the name then mean another party, or one at all."""
    lab.policy(names={"app": f"sg-new@{HOME}", "db": f"sg-db@{HOME}", "x": f"sg-x@{HOME}"})
    changed = shutil.copyfile(lab.policy_path, tmp_path / "changed.yaml")
    lab.policy(names={"app": f"sg-old@{HOME}", "db": f"sg-db@{HOME}", "gone": f"sg-gone@{HOME}"})
    assert cli("plan", "--policy", str(changed)) == 0, cli.err
    said = [line.split()[:2] for line in cli.out.splitlines() if "  names." in line]
    assert said == [["wider", "names.app"], ["wider", "names.x"], ["narrower", "names.app"], ["narrower", "names.gone"]]


def test_a_request_names_accounts_by_name(lab: Lab, cli: Cli) -> None:
    """What is posted has the uid, which is all that the function knows."""
    app, db = lab.pair()
    code, (posted,) = cli.json("request", "link", "--from", f"{app.id}@a@aliyun.com", "--to", f"{db.id}@{NAME}")
    assert (code, posted["posted"]["from"]["account"], posted["posted"]["to"]["account"]) == (0, HOME, PEER)


@pytest.mark.parametrize(
    "command",
    [
        "links --account {}",
        "doctor {}",
        "sweep --believe-empty {}",
        "audit --party sg-1@{}",
        "accept sg-1 *@{}",
        "close sg-1@{}",
        "request link --from sg-1 --to sg-2@{}",
        "verify --from i-1@{} --to i-2",
        "account remove {}",
    ],
)
def test_an_unknown_name_is_a_usage_error_that_lists_the_known_ones(lab: Lab, cli: Cli, command: str) -> None:
    """At most 20 of them."""
    assert cli(*command.format("nobody@aliyun.com").split()) == 2
    assert "'nobody@aliyun.com' is no account uid and no account of the policy" in cli.err
    assert f"which lists {HOME} (a@aliyun.com), {PEER} (b@aliyun.com)" in cli.err
    others = {
        str(10**15 + 100 + n): {"name": f"n{n}", "role": f"acs:ram::{10**15 + 100 + n}:role/x", "external_id": "xyz"}
        for n in range(30)
    }
    lab.policy(accounts={**POLICY["accounts"], **others})
    assert cli(*command.format("nobody@aliyun.com").split()) == 2
    assert cli.err.rstrip().endswith("(n17) and 12 more")


def test_a_name_of_two_accounts_is_a_usage_error(lab: Lab, cli: Cli) -> None:
    """The uids of both are listed."""
    lab.policy_account(HOME, name=NAME)
    assert cli("doctor", NAME) == 2
    assert f"is the name of {HOME}, {PEER}: give the uid of one" in cli.err


def test_without_a_policy_file_a_name_reports_everything_that_is_missing(
    lab: Lab, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A uid needs no policy file to be valid."""
    monkeypatch.setenv("LINK_PEER_POLICY", "no-such-file.yaml")
    monkeypatch.delenv("LINK_PEER_REGION")
    assert cli("doctor", NAME) == 1
    assert "no region" in cli.err
    assert "no-such-file.yaml cannot be read" in cli.err


def test_names_may_have_the_characters_of_an_entry(lab: Lab) -> None:
    """The longest name that fits is meant; an entry without an account is left as it is."""
    lab.policy_account(PEER, name="b:tcp")
    lab.policy_account(HOME, name="b")
    assert with_uid("*@b:tcp/1", "who") == f"*@{HOME}:tcp/1"
    assert with_uid("*@b:tcp:tcp/1~20270101T000000Z", "who") == f"*@{PEER}:tcp/1~20270101T000000Z"
    assert with_uid(f"*@{PEER}:tcp/1", "who") == f"*@{PEER}:tcp/1"
    assert with_uid("sg-1:tcp/1", "who") == "sg-1:tcp/1"
    with pytest.raises(BadInput, match="'c' is no account"):
        with_uid("*@c:tcp/1", "who")
