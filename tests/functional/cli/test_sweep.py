"""`link-peer sweep` and `link-peer stale`: from a laptop, in all accounts of the policy."""

from __future__ import annotations

import shlex

import pytest

from tests.functional.command import Cli
from tests.functional.lab import HOME, PEER, Lab


@pytest.fixture(name="cli")
def _cli(lab: Lab, capsys: pytest.CaptureFixture[str]) -> Cli:
    lab.instance(lab.group(account=PEER))  # both accounts are seen to be alive
    lab.instance(lab.group())
    return Cli(capsys)


def test_a_dry_run_says_what_a_run_would_do_and_does_none_of_it(lab: Lab, cli: Cli) -> None:
    """The same decisions and counts; no change, no record."""
    app, db, cache = lab.group(), lab.group("*"), lab.group()
    lab.instance(app, tags={"link-peer": f"{db.id}:tcp/3306 {cache.id}:tcp/6379"})
    code, [dry] = cli.json("sweep", "--dry-run")
    assert (code, lab.rules(db), lab.changes(), lab.records("summary", "outcome")) == (0, [], 0, [])
    actions = [shlex.split(entry["command"])[2] for entry in dry["commands"]]
    assert actions == ["TagResources", "AuthorizeSecurityGroup"]
    code, [real] = cli.json("sweep")
    assert (code, lab.rules(db)) == (0, [f"{app.id} tcp/3306"])
    for told in (dry, real):
        assert sorted((d["outcome"], d["to"]) for d in told["decisions"]) == [("applied", db.id), ("denied", cache.id)]
        assert (told["summary"]["changed"], told["summary"]["denied"]) == ("1", "1")


def test_a_sweep_tells_what_it_did_in_a_table(lab: Lab, cli: Cli) -> None:
    """Decisions, their advice, and the counts."""
    app, cache = lab.group(), lab.group()
    lab.instance(app, tags={"link-peer": f"{cache.id}:tcp/6379"})
    assert cli("sweep") == 0
    assert "no-consent" in cli.out
    assert f"advice: tag {cache.id}@{HOME} link-accept={app.id}:tcp/6379" in cli.out
    assert "changed 0" in cli.out
    assert cli.err == ""  # no bar where nobody watches, and no line of one


def test_what_is_held_back_fails_the_command(lab: Lab, cli: Cli) -> None:
    """More removals than the policy lets go at once: exit code 1, in the dry run too."""
    app, db = lab.group(), lab.group("*")
    instance = lab.instance(app, tags={"link-peer": f"{db.id}:tcp/1+tcp/2"})
    lab.auto_link(lab.event(instance))
    lab.tag(instance, link_peer=None)
    lab.policy(limits={"removals_per_run": 1})
    for options in (["--dry-run"], []):
        code, [told] = cli.json("sweep", *options)
        assert (code, told["summary"]["reason"], told["summary"]["held"]) == (1, "removals-held", "2")
    assert len(lab.rules(db)) == 2


def test_an_account_that_cannot_be_entered_fails_the_command_but_not_the_sweep(lab: Lab, cli: Cli) -> None:
    """The other account's links are settled all the same."""
    app, db = lab.group(), lab.group("*")
    lab.instance(app, tags={"link-peer": f"{db.id}:tcp/3306"})
    lab.fault(service="sts", action="AssumeRole", code="NoPermission", status=403, times=None)
    assert cli("sweep") == 1
    assert lab.rules(db) == [f"{app.id} tcp/3306"]
    assert PEER in cli.out


def test_what_has_no_room_fails_the_command(lab: Lab, cli: Cli) -> None:
    """An outcome `failed` is none of the links that nobody consented to."""
    app, db = lab.group(), lab.group("*")
    for port in range(1, 21):
        lab.authorize(db, IpProtocol="TCP", PortRange=f"{port}/{port}", SourceGroupId=app.id)
    lab.instance(app, tags={"link-peer": f"{db.id}:tcp/3306"})
    code, [told] = cli.json("sweep")
    assert (code, [d["reason"] for d in told["decisions"]]) == (1, ["quota"])


@pytest.mark.parametrize("options", [["--dry-run"], []])
def test_a_wait_for_the_next_minute_is_told(lab: Lab, cli: Cli, options: list[str]) -> None:
    """A throttled call takes up to a minute: no reason to think that the command hangs."""
    lab.fault(service="ecs", action="DescribeInstances", kind="throttle")
    assert cli("sweep", *options) == 0
    assert "going on in" in cli.err


def test_an_empty_account_is_believed_only_when_a_person_says_so(lab: Lab, cli: Cli) -> None:
    """Its last instance had asked for the link: that may be an outage, until `--believe-empty` says that it is not."""
    db, theirs = lab.group(f"*@{PEER}:tcp/3306"), lab.group(account=PEER)
    lab.instance(theirs, tags={"link-peer": f"{db.id}@{HOME}:tcp/3306"})
    assert cli("sweep") == 0
    for instance in list(lab.cloud.ecs.accounts[PEER].instances):
        lab.call(PEER, "DeleteInstance", {"InstanceId": instance, "Force": "true"})
    assert cli("sweep") == 0
    assert f"{PEER}: shows no instances" in cli.out
    assert lab.rules(db) == [f"{theirs.id} tcp/3306"]
    assert cli("sweep", "--believe-empty", PEER) == 0
    assert lab.rules(db) == []
    assert cli("sweep", "--believe-empty", "1000000000000009") == 2
    assert "1000000000000009" in cli.err


def test_stale_lists_a_rule_whose_tag_is_gone_with_its_age(lab: Lab, cli: Cli) -> None:
    """By rule id and reason; it changes nothing."""
    app, db = lab.group(), lab.group("*")
    instance = lab.instance(app, tags={"link-peer": f"{db.id}:tcp/3306"})
    lab.auto_link(lab.event(instance))
    assert cli.json("stale") == (0, [])
    lab.tag(instance, link_peer=None)
    lab.cloud.clock.sleep(7200)
    [rule] = lab.raw_rules(db)
    code, [found] = cli.json("stale")
    assert (code, found["kind"], found["group"], found["what"]) == (0, "rule", db.id, "by tag")
    assert found["rule_id"] == rule["SecurityGroupRuleId"]
    assert 7200 <= found["age_seconds"] < 7210
    assert cli("stale") == 0
    assert "2 h 0 min" in cli.out
    assert lab.rules(db) == [f"{app.id} tcp/3306"]


def test_stale_lists_a_rule_whose_consent_was_withdrawn(lab: Lab, cli: Cli) -> None:
    """With the request that asked for it."""
    app, db = lab.group(), lab.group(f"*@{HOME}")
    lab.cross_account(lab.request(app, db, "tcp/3306"))
    lab.tag(db, link_accept=None)
    _, [found] = cli.json("stale")
    assert (found["kind"], found["what"]) == ("rule", "by chg-1")
    assert "has not accepted" in found["why"]


def test_stale_lists_a_half_open_link(lab: Lab, cli: Cli) -> None:
    """The side that stands, and the one that is missing."""
    ours, theirs = lab.group(f"*@{PEER}"), lab.group(f"*@{HOME}", account=PEER)
    lab.cross_account(lab.request(ours, theirs))
    [rule] = lab.raw_rules(theirs)
    gone = {"SecurityGroupId": theirs.id, "SecurityGroupRuleId.1": rule["SecurityGroupRuleId"]}
    lab.call(PEER, "RevokeSecurityGroup", gone)
    _, [found] = cli.json("stale")
    assert (found["kind"], found["account"], found["group"]) == ("half-open", HOME, ours.id)
    assert found["why"] == f"{theirs.id}@{PEER} has none"


def test_stale_lists_consents_to_nobody(lab: Lab, cli: Cli) -> None:
    """A group or an instance that is gone, an account that the policy does not list, an entry that is not the grammar."""
    app = lab.group()
    instance = lab.instance(app)
    good = f"{app.id} {instance.id}:icmp * *@{PEER}"
    db = lab.group(good, "sg-gone", f"i-gone@{PEER}", "*@1000000000000009", "sg-bad:")
    code, found = cli.json("stale")
    assert (code, {f["kind"] for f in found}, {f["group"] for f in found}) == (0, {"consent"}, {db.id})
    whys = {f["what"].removeprefix("link-accept="): f["why"] for f in found}
    assert whys.keys() == {"sg-gone", f"i-gone@{PEER}", "*@1000000000000009", "sg-bad:"}
    assert whys["sg-gone"] == f"sg-gone@{HOME} is not there"
    assert whys["*@1000000000000009"] == "account 1000000000000009 is not in the policy"


def test_stale_lists_reviewed_pairs_of_groups_that_are_gone(lab: Lab, cli: Cli) -> None:
    """The policy's allow list consents too."""
    db = lab.group()
    lab.policy(allow=[{"from": f"sg-gone@{HOME}", "to": f"{db.id}@{HOME}", "ports": ["tcp/443"]}])
    _, [found] = cli.json("stale")
    assert (found["kind"], found["group"], found["why"]) == ("consent", db.id, f"sg-gone@{HOME} is not there")


def test_stale_says_which_account_it_could_not_read(lab: Lab, cli: Cli) -> None:
    """What it lists is then not the whole: exit code 1."""
    lab.fault(service="sts", action="AssumeRole", code="NoPermission", status=403, times=None)
    assert cli("stale") == 1
    assert f"not read: {PEER}: no-access: NoPermission" in cli.err


@pytest.mark.parametrize("action", ["DescribeInstances", "DescribeSecurityGroups"])
def test_an_account_that_fails_to_answer_fails_the_command(lab: Lab, cli: Cli, action: str) -> None:
    """Weather is no better than a closed door: what could not be read is told, and the exit code is 1."""
    lab.fault(service="ecs", action=action, account=PEER, kind="error", times=None)
    for command in (["sweep", "--dry-run"], ["sweep"], ["stale"]):
        assert cli(*command) == 1
        assert PEER in cli.out + cli.err
