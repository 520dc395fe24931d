"""The commands of a deployment with another tag prefix show and write its own keys."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from aliyun_local.api import Group

from tests.functional.command import Cli
from tests.functional.lab import HOME, PEER, Lab
from tests.functional.test_advice import OTHERS

ACME = "acme"

pytestmark = pytest.mark.knobs(request_tags=True)  # else nobody may write the tags


@pytest.fixture(name="cli")
def _cli(lab: Lab, capsys: pytest.CaptureFixture[str]) -> Iterator[Cli]:
    """The commands of the deployment acme, in whose accounts the deployment link-peer acts too."""
    with lab.deployment(ACME):
        yield Cli(capsys)


def of(group: Group) -> dict[str, str]:
    return {"ResourceType": "securitygroup", "ResourceId.1": group.id}


def test_consent_is_written_read_and_withdrawn_by_the_deployments_own_key(lab: Lab, cli: Cli) -> None:
    """A consent to the other deployment is neither seen nor changed."""
    db = lab.group()
    plain_tags = {"link-accept": "sg-other:tcp/1"}
    lab.call(HOME, "TagResources", {**of(db), "Tag.1.Key": "link-accept", "Tag.1.Value": plain_tags["link-accept"]})
    assert cli("accept", f"{db.id}@{HOME}", "sg-app:tcp/3306", "--yes") == 0
    assert lab.tags(db) == {**plain_tags, "acme-accept": "sg-app:tcp/3306"}
    assert cli("withdraw", f"{db.id}@{HOME}", "sg-other:tcp/1", "--yes") == 2
    assert "link-accept" not in cli.err
    assert cli("withdraw", f"{db.id}@{HOME}", "sg-app:tcp/3306", "--yes") == 0
    assert lab.tags(db) == plain_tags


@pytest.mark.parametrize("way", [("--as", "tag"), ("--as", "request")])
def test_adopting_a_rule_writes_the_deployments_own_tags(lab: Lab, cli: Cli, way: tuple[str, str]) -> None:
    """The managed tag, the consent, and the peer of the instance that asks."""
    app, db = lab.group(), lab.group()
    instance = lab.instance(app)
    rule = lab.authorize(db, IpProtocol="TCP", PortRange="22/22", SourceGroupId=app.id, Policy="accept", Priority="1")
    asker = ("--instance", f"{instance.id}@{HOME}") if way[1] == "tag" else ()
    assert cli("adopt", "--anyone-may-close", rule, *way, *asker, "--yes") == 0, cli.err
    written = {"acme-accept": f"{app.id}:tcp/22", f"acme-managed.acme.{HOME}": "true"}
    assert lab.tags(db) == written
    assert lab.tags(instance) == ({"acme-peer": f"{db.id}:tcp/22"} if way[1] == "tag" else {})


def test_no_command_shows_a_key_of_the_other_deployment(lab: Lab, cli: Cli) -> None:
    """What stands, what is denied and why, what is obsolete, and the advice."""
    instance, app, db = lab.linked()
    far, refused = lab.group(account=PEER), lab.group()
    lab.instance(app, tags={"link-peer": f"{far.id}@{PEER}:tcp/1 {refused.id}:tcp/2 bad:", "link-until": "tomorrow"})
    lab.tag(db, link_accept=f"{app.id}:tcp/1 ? sg-none")
    lab.tag(refused, link_lock="by hand")
    lab.sweep()
    output = ""
    for command in (
        ["links"],
        ["explain", f"{app.id}@{HOME}", f"{db.id}@{HOME}", "tcp/1"],
        ["explain", f"{app.id}@{HOME}", f"{far.id}@{PEER}", "tcp/1"],
        ["explain", f"{app.id}@{HOME}", f"{refused.id}@{HOME}", "tcp/2"],
        ["doctor"],
        ["plan", instance.id],
        ["sweep", "--dry-run"],
        ["close", f"{db.id}@{HOME}", "--dry-run"],
        ["audit"],
        ["account", "add", "1000000000000009"],
    ):
        cli(*command)
        # which RAM denies under every prefix
        text = re.sub("acs:RequestTag/link-(lock|refuse)\\b", "", cli.out + cli.err)
        assert not OTHERS.search(text), (command, OTHERS.search(text))
        output += text
    for key in ("acme-accept", "acme-peer", "acme-lock", "acme-until", f"acme-managed.acme.{HOME}"):
        assert key in output, key


def test_a_denial_is_accepted_by_its_id(lab: Lab, cli: Cli) -> None:
    """The command reads the tag that the denial advised."""
    app, db = lab.group(), lab.group()
    lab.cross_account(lab.request(app, db, "tcp/3306"), queue="acme-requests")
    assert f"acme-accept={app.id}:tcp/3306" in lab.outcome()["advice"]
    assert cli("accept", "chg-1", "--yes") == 0, cli.err
    assert lab.tags(db) == {"acme-accept": f"{app.id}:tcp/3306"}


def test_close_and_reopen_set_the_deployments_own_lock(lab: Lab, cli: Cli) -> None:
    """The other deployment goes on."""
    _, app, db = lab.linked()
    assert cli("close", "--all", "--yes") == 0, cli.err
    assert lab.rules(db) == []
    assert "acme-lock" in lab.tags(db)
    assert cli("reopen", "--all") == 0, cli.err
    assert "acme-lock" not in lab.tags(db)
    lab.sweep()
    assert lab.rules(db) == [f"{app.id} tcp/1"]
