"""Two deployments on the same accounts: each acts on the tags of its own prefix alone."""

from __future__ import annotations

import pytest
from aliyun_local.api import ApiError
from link_peer.domain.denials import parts

from tests.functional.command import Cli
from tests.functional.lab import HOME, MANAGED, PEER, REGION, Lab

ACME = "acme"
BOTH = {"link-accept": "*", "acme-accept": "*"}
ACME_MANAGED = f"acme-managed.acme.{HOME}"


def test_a_port_that_one_denies_is_opened_by_the_tags_of_the_other_alone(lab: Lab) -> None:
    """The second deployment may open it, and only if its own tag asks."""
    lab.policy(deny={"ports": ["tcp/22"]})
    app, db = lab.group(), lab.group(tags=BOTH)
    instance = lab.instance(app, tags={"link-peer": f"{db.id}:tcp/22"})
    with lab.deployment(ACME):
        assert lab.auto_link(lab.event(instance)) == {}
        assert lab.sweep() == {}
        assert lab.records() == []
    assert lab.auto_link(lab.event(instance)) == {"denied": 1}
    assert (lab.outcome()["reason"], lab.rules(db)) == ("not-allowed", [])
    with lab.deployment(ACME):
        assert lab.retag(instance, link_peer=f"{db.id}:tcp/22") == {"applied": 1}
    assert lab.rules(db) == [f"{app.id} tcp/22"]
    assert lab.sweep() == {}  # another deployment's rule
    assert lab.rules(db) == [f"{app.id} tcp/22"]


@pytest.mark.knobs(request_tags=True)  # else nobody may write the tags
def test_each_removes_its_own_rules_and_its_own_managed_tag(lab: Lab) -> None:
    """What one no longer wants stays open for the other."""
    app, db = lab.group(), lab.group(tags=BOTH)
    tags = {"link-peer": f"{db.id}:tcp/1", "acme-peer": f"{db.id}:tcp/2"}
    instance = lab.instance(app, tags=tags)
    lab.sweep()
    with lab.deployment(ACME):
        lab.sweep()
    assert lab.rules(db) == [f"{app.id} tcp/1", f"{app.id} tcp/2"]
    assert {MANAGED, ACME_MANAGED} <= set(lab.tags(db))
    lab.tag(instance, link_peer=None)
    with lab.deployment(ACME):
        lab.sweep()
    lab.sweep()
    assert lab.rules(db) == [f"{app.id} tcp/2"]
    assert MANAGED not in lab.tags(db)
    with lab.deployment(ACME):
        lab.tag(db, link_accept=None)
        assert lab.auto_link(lab.group_event(db, "UntagResources")) == {"removed": 1}
        lab.sweep()
    assert lab.rules(db) == []
    assert ACME_MANAGED not in lab.tags(db)


@pytest.mark.parametrize(
    ("lock", "link", "acme"),
    [("link-lock", [], []), ("acme-lock", ["tcp/1"], []), ("other-lock", ["tcp/1"], ["tcp/2"])],
)
def test_link_lock_stops_every_deployment_and_a_lock_of_one_that_one(
    lab: Lab, lock: str, link: list[str], acme: list[str]
) -> None:
    """Standing rules go, at the event and in other accounts at the sweep; and none is opened."""
    app, db, far = lab.group(), lab.group(tags=BOTH), lab.group(tags=dict.fromkeys(BOTH, f"*@{HOME}"), account=PEER)
    wishes = [f"{db.id}:tcp/{{}}", f"{far.id}@{PEER}:tcp/{{}}"]
    wishes_by_key = {
        f"{key}-peer": ",".join(wish.format(port) for wish in wishes) for key, port in (("link", 1), (ACME, 2))
    }
    lab.instance(app, tags=wishes_by_key)
    lab.sweep()
    with lab.deployment(ACME):
        lab.sweep()
    assert [len(lab.rules(group)) for group in (db, far)] == [2, 2]
    for group in (db, far):
        lab.call(
            group.account,
            "TagResources",
            {"ResourceType": "securitygroup", "ResourceId.1": group.id, "Tag.1.Key": lock, "Tag.1.Value": ""},
        )
    lab.auto_link(lab.group_event(db))
    with lab.deployment(ACME):
        lab.auto_link(lab.group_event(db))
    assert lab.rules(db) == [f"{app.id} {port}" for port in link + acme]
    for _ in range(2):
        lab.sweep()
        with lab.deployment(ACME):
            lab.sweep()
            assert all(record["detail"].endswith(lock) for record in lab.records(reason="locked"))
    assert [lab.rules(group) for group in (db, far)] == [[f"{app.id} {port}" for port in link + acme]] * 2


@pytest.mark.knobs(request_tags=True)  # else nobody may write the tags
def test_functions_of_another_prefix_cannot_lock_or_consent(lab: Lab) -> None:
    """RAM denies their role the lock of every deployment, and the keys of its own consent and lock."""
    db = lab.group()
    with lab.deployment(ACME):
        keys = lab.function_keys()
    role = lab.cloud.identity.keys[keys["ALIBABA_CLOUD_ACCESS_KEY_ID"]].caller
    params = {"ResourceType": "securitygroup", "ResourceId.1": db.id, "Tag.1.Key": ACME_MANAGED, "Tag.1.Value": "true"}
    for key in ("link-lock", "acme-lock", "acme-accept"):
        with pytest.raises(ApiError, match="not authorized"):
            lab.cloud.ecs.call(
                role, "TagResources", {"RegionId": REGION, **params, "Tag.2.Key": key, "Tag.2.Value": "true"}
            )
    lab.cloud.ecs.call(role, "TagResources", {"RegionId": REGION, **params})
    assert list(lab.tags(db)) == [ACME_MANAGED]


def test_a_command_with_the_settings_of_another_deployment_does_not_start(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It would show, and change, what the tags of another say."""
    lab.policy(tag_prefix=ACME)
    cli = Cli(capsys)
    for command in (["links"], ["doctor"], ["accept", "sg-a", "sg-b"], ["setup", "--dry-run"], ["plan", "i-a"]):
        assert cli(*command) in (1, 2)
        assert "tag_prefix is acme, but LINK_PEER_TAG_PREFIX is link" in cli.err
    monkeypatch.setenv("LINK_PEER_TAG_PREFIX", ACME)
    assert cli("links", "--json") == 0


@pytest.mark.knobs(request_tags=True)  # else nobody may write the tags
def test_the_lock_of_every_deployment_is_its_owners_to_take_off(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    """`close` and `reopen` are about the lock of their own deployment; the denial has the command for the other."""
    db, cli = lab.group(tags={"link-lock": "by hand", **BOTH}), Cli(capsys)
    with lab.deployment(ACME):
        assert cli("close", f"{db.id}@{HOME}", "--yes") == 0
        assert set(lab.tags(db)) == {"link-lock", "acme-lock", *BOTH}
        assert cli("reopen", f"{db.id}@{HOME}", "--force") == 1
        assert "link-lock locks it for every deployment" in cli.out
        assert set(lab.tags(db)) == {"link-lock", *BOTH}
        lab.cross_account(lab.request(lab.group(), db, "tcp/1"), queue="acme-requests")
        _, command = parts(lab.outcome()["advice"])
        assert command in cli.out
        words = command.split()
        pairs = zip(words[3::2], words[4::2], strict=True)
        lab.call(HOME, words[2], {name.removeprefix("--"): value for name, value in pairs})
        assert lab.cross_account(lab.request(lab.group(), db, "tcp/1"), queue="acme-requests") == {"applied": 1}
