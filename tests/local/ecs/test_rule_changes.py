"""Rules through the official SDK: revoking, modifying, repeating a call, reading many."""

from __future__ import annotations

from typing import Any

import pytest
from link_peer_local.cloud import LocalCloud

from tests.local.clients import PEER, ask, refused
from tests.local.ecs.helpers import RuleWorld, permission


@pytest.fixture(name="w")
def _world(local_cloud: LocalCloud) -> RuleWorld:
    return RuleWorld(local_cloud)


def test_modifying_changes_the_given_fields_and_keeps_the_id(w: RuleWorld) -> None:
    """This is the only way to change a description."""
    w.authorize(w.db, permission(source_group_id=w.peer, source_group_owner_id=int(PEER), description="old"))
    (old,) = w.rules(w.db)
    w.modify(w.db, old.security_group_rule_id, description="new", port_range="3307/3307")
    (new,) = w.rules(w.db)
    assert new.security_group_rule_id == old.security_group_rule_id
    assert (new.description, new.port_range, new.source_group_owner_account) == ("new", "3307/3307", PEER)


def test_a_client_token_returns_the_old_success_after_a_revoke(w: RuleWorld) -> None:
    """The call succeeds without creating the rule. Once the token has expired it works again."""
    again = {"client_token": "token-1"}
    w.authorize(w.db, permission(source_group_id=w.app), **again)
    w.revoke(w.db, w.rules(w.db)[0].security_group_rule_id)
    w.authorize(w.db, permission(source_group_id=w.app), **again)
    assert w.rules(w.db) == []
    with refused("IdempotentParameterMismatch", 400):
        w.authorize(w.db, permission(source_group_id=w.app, priority="2"), **again)
    w.cloud.clock.sleep(w.cloud.ecs.tokens.retention + 1)
    w.authorize(w.db, permission(source_group_id=w.app), **again)
    assert len(w.rules(w.db)) == 1


def test_a_refused_call_is_not_remembered_by_its_token(w: RuleWorld) -> None:
    """A token longer than 64 characters is refused."""
    with refused("InvalidSourceGroupId.NotFound", 404):
        w.authorize(w.db, permission(source_group_id="sg-none"), client_token="t")
    w.authorize(w.db, permission(source_group_id=w.app), client_token="t")
    with refused("InvalidClientToken.ValueNotSupported", 400):
        w.authorize(w.db, permission(source_group_id=w.app), client_token="t" * 65)


def test_a_group_with_more_than_a_page_of_rules_needs_next_token(w: RuleWorld) -> None:
    """500 per page by default, at least 10, at most 1,000; both directions are listed by default."""
    w.cloud.ecs.quotas.rules_per_group = 1100
    for block in range(6):
        many = [permission(source_cidr_ip=f"10.0.{block}.{n}", port_range="1/1") for n in range(100)]
        w.authorize(w.db, *many)

    def read(**fields: Any) -> tuple[int, str]:
        body = ask(w.ecs, "DescribeSecurityGroupAttribute", security_group_id=w.db, **fields)
        return len(body.permissions.permission), body.next_token

    count, token = read()
    assert count == 500
    assert read(next_token=token) == (100, "")
    assert read(max_results=1)[0] == 10
    assert read(max_results=5000) == (600, "")
    assert read(direction="egress") == (0, "")
    with refused("InvalidParameter", 400):
        read(next_token="caeba0bbb2be03f84eb48b699f0a4883")
