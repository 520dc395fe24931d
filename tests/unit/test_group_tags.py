"""With whose keys the tags of a group are read."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from link_peer.domain.errors import LinkPeerError
from link_peer_cli.consent import group_tags
from link_peer_cli.consent.group_tags import GroupTags
from pytest_mock import MockerFixture

from tests.unit.fakes import FakeClock
from tests.unit.small_world import HOME, NOW, PEER, POLICY


def test_an_account_without_keys_is_read_through_the_reader_role(mocker: MockerFixture) -> None:
    """For a minute at most. An account that the policy does not have is not read."""
    keys = SimpleNamespace(account=HOME, arn=f"acs:ram::{HOME}:user/ann")
    env: Any = mocker.Mock(person_keys=keys, policy=POLICY, clock=FakeClock())
    reading = mocker.patch.object(group_tags, "load_environment").return_value
    tags = GroupTags(env)
    assert tags.ecs(HOME) is env.accounts.return_value.ecs.return_value
    assert env.accounts.call_args.args[1].deadline == NOW + 60
    reading.clock = FakeClock()
    assert tags.ecs(PEER) is reading.accounts.return_value.ecs.return_value
    with pytest.raises(LinkPeerError, match="there are no keys of account"):
        tags.ecs("1000000000000009")
