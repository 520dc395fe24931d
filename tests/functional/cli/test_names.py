"""Accounts and parties are given by their names as well as by their ids, in every command."""

from __future__ import annotations

import re

import pytest
from link_peer.domain.errors import BadInput
from link_peer_cli.access.inputs import with_uid

from tests.functional.command import Cli
from tests.functional.lab import HOME, PEER, POLICY, Lab

NAME = "b@aliyun.com"
"""The name of PEER in the lab's policy: the first `@` of `sg-1@b@aliyun.com` ends the id."""


CLOSED = (
    *("links --account {b}", "links --party {db}", "who {db} --port tcp/1", "explain {app} {db} tcp/1"),
    *("explain {node} {db}", "verify --from {node} --to {db}", "doctor {b}", "sweep --dry-run --believe-empty {b}"),
    *("close {app} --dry-run", "close {db} --dry-run", "close --account {b} --dry-run", "plan {node}"),
    "request unlink --from {app} --to {db} --request-id r-1 --dry-run",
    *("withdraw {app} *@{b} --dry-run", "audit party=*@{b}", "audit party={db}"),
    *("account remove {b} --dry-run", "account add {b}"),
)
"""What opens nothing: a link of app or node of home, db of the other account, or that account."""
OPENED = (
    *("reopen {app} --dry-run", "reopen --account {b} --dry-run", "accept {app} *@{b}:tcp/1 --dry-run"),
    *("accept {app} {db}:tcp/1~20990101T000000Z --dry-run", "accept {db} *:tcp/1 --dry-run"),
    "request link --from {app} --to {db} --port tcp/1 --request-id r-1 --dry-run",
    *("adopt sgr-1 --group {db} --dry-run", "adopt sgr-1 --as tag --instance {node} --dry-run"),
)
"""What opens: whoever may rename a group would choose which one is opened, if its name in the cloud counted."""


def test_every_command_takes_ids_and_names(lab: Lab, cli: Cli) -> None:
    """The answers are the same. A name of the policy comes before a group of that name; a name in the cloud counts
    wherever nothing is opened, and one of several parties is refused, with their ids."""
    app, db = lab.group(f"*@{PEER}", name="c-app"), lab.group(account=PEER, name="c-db")
    node, _ = lab.instance(app, name="c-node"), lab.group(name="ledger")
    ids = {"app": f"{app.id}@{HOME}", "db": f"{db.id}@{PEER}", "node": f"{node.id}@{HOME}", "b": PEER}
    lab.policy(names={"app": ids["app"], "ledger": ids["db"], "node": ids["node"]})
    in_policy = {"app": "app", "db": "ledger", "node": "node", "b": NAME}
    in_cloud = {"app": "c-app", "db": f"c-db@{NAME}", "node": "c-node@a@aliyun.com", "b": NAME}
    for shape in CLOSED + OPENED:
        answers = []
        for words in (ids, in_policy, in_cloud if shape in CLOSED else in_policy):
            code = cli(*shape.format(**words).split())
            output = re.sub("request id: [0-9A-F-]+", "", cli.out + cli.err)
            answers.append((code, output.replace(NAME, PEER)))
        assert answers[0] == answers[1] == answers[2], shape
        assert not any(phrase in answers[0][1] for phrase in ("no account", "name of the policy", "does not exist")), (
            shape
        )
    lab.group(name="c-app"), lab.group(name="c-db"), lab.instance(app, name="c-node")
    for shape in CLOSED + OPENED:
        code = cli(*shape.format(app="c-app", db="c-db", node="c-node", b=PEER).split())
        of_party = re.search("{(app|db|node)}", shape) is not None
        refused = "is the name of " in cli.err and any(party.id in cli.err for party in (app, db, node))
        assert refused == (of_party and shape in CLOSED), shape
        assert code or not of_party, shape


@pytest.mark.parametrize(
    "command",
    [
        "links --account {}",
        "doctor {}",
        "sweep --believe-empty {}",
        "audit party=sg-1@{}",
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
    assert "'nobody@aliyun.com' is neither the uid nor the name of an account of the policy" in cli.err
    assert f"which lists {HOME} (a@aliyun.com), {PEER} (b@aliyun.com)" in cli.err
    extra_accounts = {
        str(10**15 + 100 + n): {"name": f"n{n}", "role": f"acs:ram::{10**15 + 100 + n}:role/x", "external_id": "xyz"}
        for n in range(30)
    }
    lab.policy(accounts={**POLICY["accounts"], **extra_accounts})
    assert cli(*command.format("nobody@aliyun.com").split()) == 2
    assert cli.err.rstrip().endswith("(n17) and 12 more")


def test_a_name_of_two_accounts_is_a_usage_error(lab: Lab, cli: Cli) -> None:
    """The uids of both are listed."""
    lab.policy_account(HOME, name=NAME)
    assert cli("doctor", NAME) == 2
    assert f"is the name of {HOME}, {PEER}: give the uid of one" in cli.err


def test_names_may_have_the_characters_of_an_entry(lab: Lab) -> None:
    """The longest name that fits is meant; an entry without an account is left as it is."""
    lab.policy_account(PEER, name="b:tcp")
    lab.policy_account(HOME, name="b")
    assert with_uid("*@b:tcp/1", "who") == f"*@{HOME}:tcp/1"
    assert with_uid("*@b:tcp:tcp/1~20270101T000000Z", "who") == f"*@{PEER}:tcp/1~20270101T000000Z"
    assert with_uid(f"*@{PEER}:tcp/1", "who") == f"*@{PEER}:tcp/1"
    assert with_uid("sg-1:tcp/1", "who") == "sg-1:tcp/1"
    with pytest.raises(BadInput, match="'c' is neither"):
        with_uid("*@c:tcp/1", "who")
