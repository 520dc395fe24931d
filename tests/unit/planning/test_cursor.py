"""What a sweep by account remembers of the groups that it was shown."""

from __future__ import annotations

import msgspec
from link_peer.domain.model import Group
from link_peer.planning.cursor import digests

from tests.unit.small_world import APP, DB
from tests.unit.views import managed


def test_digests_change_with_the_tags_of_a_set_on_any_group() -> None:
    """Consent of the listed group may rest on them; other tags of another group tell nothing of it."""

    def shown(**tags: str) -> dict[int, str]:
        other: Group = msgspec.structs.replace(managed(APP), tags=tags)
        return digests([managed(DB)], [other], ["env"])

    assert len({tuple(shown(**tags).items()) for tags in ({"env": "prod"}, {"env": "test"}, {})}) == 3
    assert shown(env="prod", owner="a") == shown(env="prod")
