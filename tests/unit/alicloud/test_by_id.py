"""Reads by id: one wrong id costs neither the others nor more than a few calls."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from link_peer.alicloud.ecs import IDS_PER_CALL, MAX_SPLITS, read_by_id
from link_peer.domain.errors import Ambiguous, CloudError, NoAccess
from link_peer.domain.model import Group, Party

NOT_FOUND = "InvalidSecurityGroupId.NotFound"


class Directory:
    """Groups that exist. A call that names another one is refused with `code`; `calls` has the size of each call, and
    `all` for a read of everything."""

    def __init__(self, *ids: str, code: str = NOT_FOUND) -> None:
        self.ids = ids
        self.code = code
        self.calls: list[int | str] = []

    def read(self, ids: Sequence[str]) -> list[Group]:
        self.calls.append(len(ids))
        if not set(ids) <= set(self.ids):
            raise CloudError(self.code, "refused")
        return [_group(group_id) for group_id in ids]

    def read_all(self) -> list[Group]:
        self.calls.append("all")
        return [_group(group_id) for group_id in self.ids]

    def read_ids(self, *ids: str) -> list[str]:
        return sorted(group.party.id for group in read_by_id(ids, self.read, self.read_all))


def _group(name: str) -> Group:
    return Group(Party("1000000000000001", name), "vpc-1")


def names(count: int, prefix: str = "sg-a") -> list[str]:
    return [f"{prefix}{number:04}" for number in range(count)]


def test_ids_are_read_100_at_a_time_and_once() -> None:
    """Repeated ids are asked for once; without ids there is no call."""
    directory = Directory(*names(250))
    assert directory.read_ids(*names(250), *names(250)) == names(250)
    assert sorted(map(int, directory.calls)) == [50, 100, 100]
    assert Directory().read_ids() == []


@pytest.mark.parametrize("code", [NOT_FOUND, "InvalidSecurityGroupId.Malformed", "InvalidInstanceIds.Malformed"])
@pytest.mark.parametrize("wrong", ["sg-0", "sg-a0042x", "sg-z"])
def test_one_wrong_id_is_found_by_splitting(code: str, wrong: str) -> None:
    """Wherever it stands among the others, all of which are read; the account is not read as a whole."""
    directory = Directory(*names(IDS_PER_CALL - 1), code=code)
    assert directory.read_ids(*names(IDS_PER_CALL - 1), wrong) == names(IDS_PER_CALL - 1)
    assert len(directory.calls) <= 15
    assert "all" not in directory.calls


def test_many_wrong_ids_cost_a_few_calls_and_one_read_of_everything() -> None:
    """5,950 names that someone made up, around 50 groups that exist. Nothing is returned twice, or that was not asked
    for."""
    directory = Directory(*names(50, "sg-m"), "sg-other")
    assert directory.read_ids(*names(3000), *names(50, "sg-m"), *names(2950, "sg-z")) == names(50, "sg-m")
    assert directory.calls.count("all") == 1
    assert len(directory.calls) <= 3 * MAX_SPLITS
    lookup = Directory(*names(300))
    assert lookup.read_ids(*names(300), *names(200, "sg-0")) == names(300)
    assert "all" in lookup.calls


def test_a_code_that_does_not_speak_of_ids_reads_everything_instead() -> None:
    """`InvalidParameter` may mean an id or not, so it proves nobody's absence. One wrong id with a code that does costs
    one call."""
    directory = Directory("sg-b", code="InvalidParameter")
    assert directory.read_ids("sg-b", "sg-z") == ["sg-b"]
    assert directory.read_ids("sg-z") == []
    directory.code = NOT_FOUND
    assert directory.read_ids("sg-z") == []
    assert directory.calls == [2, "all", 1, "all", 1]


@pytest.mark.parametrize(
    "error",
    [
        CloudError("MissingParameter", "no region"),
        NoAccess("InvalidSecurityToken.Expired", "expired"),
        NoAccess("Forbidden.RAM", "no"),
        Ambiguous("reset"),
    ],
)
def test_any_other_error_is_raised(error: Exception) -> None:
    """It is about the call, not about an id."""

    def refuse(_ids: Sequence[str]) -> list[Group]:
        raise error

    with pytest.raises(type(error)) as raised:
        read_by_id(["sg-a"], refuse, Directory().read_all)
    assert raised.value is error
