"""What commands say of links from advanced groups, which have rules at both ends."""

from __future__ import annotations

import pytest
from aliyun_local.api import Group, readings

from tests.functional.cli.test_one_truth import revoked
from tests.functional.command import Cli
from tests.functional.lab import HOME, Lab
from tests.functional.test_both_ends import Ends, revoke_egress

counted_rules = pytest.mark.parametrize("counted", readings()["rule_count"])


@pytest.mark.parametrize("of", ["groups", "instances"])
def test_each_rule_of_a_link_has_its_direction(lab: Lab, cli: Cli, of: str) -> None:
    """Those that stand, and those that stood, as the log tells."""
    ends = Ends(lab)
    parties = (ends.app, ends.db) if of == "groups" else (ends.senders[0], ends.targets[0])
    lab.cross_account(lab.request(*parties, "tcp/1"))
    lab.cloud.clock.advance(600)
    for args in (("links",), ("links", "--at", "5m")):
        (link,) = cli.json(*args)[1]
        directions = sorted((rule["group"], rule["direction"]) for rule in link["rules"])
        count = 2 if of == "groups" else 1
        assert directions == sorted([(ends.app.id, "egress")] * count + [(ends.db.id, "ingress")] * count)


def test_an_egress_rule_beside_a_persons_ingress_rules_is_no_half(lab: Lab, cli: Cli) -> None:
    """A person has taken over the rule that admits the one instance; so it is with each view, and with the sweep."""
    ends = Ends(lab)
    lab.call(HOME, "DeleteInstance", {"InstanceId": ends.senders.pop().id, "Force": "true"})
    lab.cross_account(lab.request(ends.app, ends.db, "tcp/1"))
    (rule,) = lab.raw_rules(ends.db)
    ids = {"SecurityGroupId": ends.db.id, "SecurityGroupRuleId": rule["SecurityGroupRuleId"]}
    lab.call(HOME, "ModifySecurityGroupRule", {**ids, "Description": "ours now"})
    lab.cloud.clock.advance(1801)
    (link,) = cli.json("links")[1]
    assert (link["state"], {stands["direction"] for stands in link["rules"]}) == ("open", {"egress"})
    assert cli.json("explain", ends.app.id, ends.db.id)[1][0]["links"][0]["state"] == "open"
    assert revoked(cli.json("sweep", "--dry-run")[1][0]) == set()
    lab.sweep()
    assert len(lab.raw_rules(ends.app, "egress")) == len(ends.targets)


def test_a_plan_says_to_whom_a_group_lets_out(lab: Lab, cli: Cli) -> None:
    """Of a sweep that closes: at which end consent is missing."""
    ends = Ends(lab)
    ends.link()
    lab.tag(ends.app, link_egress=None)
    assert cli("sweep", "--dry-run") == 0
    for target in ends.targets:
        assert f"- tcp/1 out to {target.private_ip}/32 ({target.id})" in cli.out
    assert f"{ends.app.id}@{HOME} has not consented to reach {ends.db.id}@{HOME} on tcp/1" in cli.out
    assert "0 to add, 4 to remove" in cli.out


@counted_rules
def test_closing_takes_both_ends_of_one_link(lab: Lab, cli: Cli, counted: str) -> None:
    lab.cloud.knobs.change({"rule_count": counted})
    ends = Ends(lab)
    ends.link()
    assert cli("close", "--all", "--yes") == 0
    assert "groups locked: 2; links closed: 1; rules left: 0" in cli.out
    assert ends.rules == ([], [])


@pytest.mark.parametrize("between", [False, True])
def test_closing_a_link_between_instances_counts_one_link(lab: Lab, cli: Cli, between: bool) -> None:
    """Its egress rule stands for a group, whose instances may share it; the request that is posted again names the
    instances."""
    ends = Ends(lab)
    app, db = ends.senders[0], ends.targets[0]
    lab.cross_account(lab.request(app, db, "tcp/1"))
    assert cli("close", *(["--between", app.id, db.id] if between else ["--all"]), "--yes") == 0
    assert "links closed: 1; rules left: 0" in cli.out
    requests = [line for line in cli.out.splitlines() if line.startswith("link-peer request ")]
    again = f"link-peer request link --from {app.id}@{HOME} --to {db.id}@{HOME} --port tcp/1 --request-id chg-1"
    assert requests == [again]
    assert (sum(db.id in line and "removed" in line for line in cli.out.splitlines()), ends.rules) == (1, ([], []))


@counted_rules
@pytest.mark.parametrize("deployment", ["prod", "former"])
def test_a_group_with_egress_rules_alone_is_seen_and_closed(lab: Lab, cli: Cli, counted: str, deployment: str) -> None:
    """Whatever RuleCount counts, whether or not it has the managed tag, and of a former deployment of this home,
    too."""
    lab.cloud.knobs.change({"rule_count": counted})
    ends = Ends(lab)
    lab.policy(deployment=deployment)
    ends.link()
    untag(lab, ends.app)
    untag(lab, ends.db)
    for _ in range(2):
        lab.revoke(ends.db)
    lab.policy(deployment="prod")
    (link,) = cli.json("links")[1]
    assert ([rule["group"] for rule in link["rules"]], link["state"]) == ([ends.app.id] * 2, "half-open")
    names = [] if deployment == "prod" else ["--deployment", "former", "--even-if-alive"]
    assert cli("close", "--all", *names, "--dry-run") in (0, 1)
    assert cli.out.count("RevokeSecurityGroupEgress") == 1
    assert cli("close", "--all", *names, "--yes") == 0
    assert ends.rules == ([], [])


@counted_rules
def test_a_pair_with_egress_rules_alone_is_closed_with_its_accounts(lab: Lab, cli: Cli, counted: str) -> None:
    """`close --between` two accounts looks at all groups with rules."""
    lab.cloud.knobs.change({"rule_count": counted})
    ends = Ends(lab, where="other account")
    ends.link()
    for _ in range(2):
        lab.revoke(ends.db)
    cli("close", "--between", ends.app.account, ends.db.account, "--yes")
    assert ends.rules == ([], [])


def test_a_person_who_removes_the_egress_rules_leaves_a_link_half_open(lab: Lab, cli: Cli) -> None:
    ends = Ends(lab)
    ends.link()
    revoke_egress(lab, ends.app, 2)
    (link,) = cli.json("links")[1]
    assert link["state"] == "half-open"


def untag(lab: Lab, group: Group) -> None:
    """Another tool rewrites the tags of a group."""
    for key in [key for key in lab.tags(group) if key.startswith("link-managed")]:
        lab.call(
            group.account,
            "UntagResources",
            {"ResourceType": "securitygroup", "ResourceId.1": group.id, "TagKey.1": key},
        )


@pytest.mark.parametrize(("end", "count"), [("accept", 1), ("egress", 0)])
def test_withdrawn_consent_asks_again_for_no_group_and_instance(lab: Lab, cli: Cli, end: str, count: int) -> None:
    """The egress rule of a link between instances names the source's group: of that end alone, it is not known who
    asked."""
    ends = Ends(lab)
    app, db = ends.senders[0], ends.targets[0]
    lab.cross_account(lab.request(app, db, "tcp/1"))
    group, peer = (ends.db, ends.app) if end == "accept" else (ends.app, ends.db)
    assert cli("withdraw", group.id, peer.id, *(["--egress"] if end == "egress" else []), "--yes") == 0
    requests = [line for line in cli.out.splitlines() if line.startswith("link-peer request ")]
    assert [f"--from {app.id}@{HOME} --to {db.id}@{HOME}" in request for request in requests] == [True] * count
