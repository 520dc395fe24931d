"""Who may ask for what: which queue proves which account, and how long a request's link may last."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from link_peer.domain import reasons
from link_peer.domain.model import Link, Party, Port
from link_peer.domain.policy import AccountPolicy, Allow, GroupSet, Limits, Never, Pause, Policy
from link_peer.domain.request import Request
from link_peer.domain.tags import Grantee, iso
from link_peer.planning.authority import DAY, policy_denial, request_denial

from tests.unit.small_world import HOME, NOW, PEER, POLICY, REGION
from tests.unit.snapshots import policy

THIRD = "1000000000000003"
P22 = (Port("tcp", 22, 22),)
QUEUES = {HOME: "", PEER: "requests-b", THIRD: "requests-c"}
SETS = {"prod": GroupSet(HOME, {"env": "prod"})}
PARTIES = {uid: Party(uid, f"sg-{uid[-1]}") for uid in QUEUES}


def bound() -> Policy:
    """Three accounts, of which PEER and the third have a queue of their own."""
    accounts = {
        uid: AccountPolicy(uid, None if uid == HOME else f"acs:ram::{uid}:role/r", queue=queue)
        for uid, queue in QUEUES.items()
    }
    return policy(accounts=accounts)


def request(action: Any, source: str, target: str, **fields: Any) -> Request:
    link = Link(PARTIES[source], PARTIES[target])
    return Request("chg-1", action, REGION, link, NOW + 600, **fields)


@pytest.mark.parametrize(
    ("action", "source", "target", "queue", "allowed"),
    [
        # a link speaks for its `from`
        ("link", HOME, PEER, "", True),
        ("link", HOME, PEER, "requests", True),
        ("link", PEER, HOME, "requests-b", True),
        ("link", PEER, HOME, "", False),
        ("link", PEER, HOME, "requests", False),
        ("link", PEER, HOME, "requests-c", False),
        ("link", HOME, PEER, "requests-b", False),
        ("link", THIRD, PEER, "requests-b", False),
        ("link", PEER, PEER, "requests-b", True),
        # an unlink for either of the two
        ("unlink", PEER, HOME, "requests-b", True),
        ("unlink", HOME, PEER, "requests-b", True),
        ("unlink", PEER, HOME, "requests-c", False),
        ("unlink", PEER, HOME, "", True),
        ("unlink", HOME, PEER, "", True),
        ("unlink", PEER, THIRD, "", False),
        ("unlink", PEER, PEER, "", False),
        ("unlink", PEER, THIRD, "requests-c", True),
        # a sync carries no wish, but a queue of its own speaks for no one else
        ("sync", PEER, THIRD, "", True),
        ("sync", PEER, HOME, "", True),
        ("sync", PEER, HOME, "requests-b", True),
        ("sync", HOME, PEER, "requests-b", True),
        ("sync", PEER, HOME, "requests-c", False),
    ],
)
def test_a_queue_speaks_for_its_account(action: Any, source: str, target: str, queue: str, allowed: bool) -> None:
    """An account with a queue of its own is `from` of a link through that queue only, which the denial names."""
    denial = request_denial(bound(), request(action, source, target), queue, NOW)
    assert (denial is None) == allowed
    if denial is not None:
        owner = next((uid for uid, queue_of_uid in QUEUES.items() if queue_of_uid and queue_of_uid == queue), None)
        detail = f"the queue {queue} takes only requests of account {owner}" if owner else f"account {PEER} has a queue"
        assert (denial.reason, denial.detail.startswith(detail)) == (reasons.NOT_ALLOWED, True)
        assert owner or f"the queue {QUEUES[PEER]}" in denial.advice


@pytest.mark.parametrize(
    ("action", "until", "max_days", "allowed"),
    [
        ("link", None, None, True),
        ("link", int(NOW) + 1000 * DAY, None, True),
        ("link", None, 7, False),
        ("link", int(NOW) + 7 * DAY, 7, True),
        ("link", int(NOW) + 7 * DAY + 1, 7, False),
        ("unlink", None, 7, True),
        ("sync", None, 7, True),
    ],
)
def test_a_link_ends_within_the_days_that_the_policy_allows(
    action: Any, until: int | None, max_days: int | None, allowed: bool
) -> None:
    """A missing end is later than any."""
    limited = policy(limits=Limits(max_days=max_days))
    denial = request_denial(limited, request(action, HOME, PEER, until=until), "", NOW)
    assert (denial is None) == allowed
    if denial is not None:
        assert (denial.reason, "at most 7 days" in denial.detail) == (reasons.NOT_ALLOWED, True)
        assert denial.advice.endswith(f" --until {iso(NOW + 7 * DAY)}")


def test_the_queue_is_judged_before_the_length() -> None:
    """A sender that may not ask learns nothing of the limits."""
    denial = request_denial(
        msgspec.structs.replace(bound(), limits=Limits(max_days=7)), request("link", PEER, HOME), "", NOW
    )
    assert "has a queue" in (denial.detail if denial else "")


@pytest.mark.parametrize(
    ("action", "target", "changes", "code"),
    [
        ("link", PEER, {}, None),
        ("unlink", PEER, {}, None),
        ("link", THIRD, {"accounts": POLICY.accounts}, "unknown-account"),
        ("unlink", THIRD, {"accounts": POLICY.accounts}, "unknown-account"),
        ("link", PEER, {"leaving": frozenset({PEER})}, "unknown-account"),
        ("link", PEER, {"paused": Pause.OPENING}, "paused"),
        ("unlink", PEER, {"paused": Pause.OPENING}, None),
        ("unlink", PEER, {"paused": Pause.ALL}, "paused"),
        ("link", PEER, {"deny": P22}, "not-allowed"),
        ("link", PEER, {"limits": Limits(max_days=1)}, "not-allowed"),
        ("unlink", PEER, {"deny": P22}, None),
        ("link", PEER, {"never": (Never(Grantee(HOME, "*"), Grantee(PEER, "*"), (), "never=one"),)}, "not-allowed"),
        ("unlink", PEER, {"never": (Never(Grantee(HOME, "*"), Grantee(PEER, "*"), (), "never=one"),)}, None),
        (
            "link",
            PEER,
            {"never": (Never(Grantee(HOME, "set:prod"), Grantee(PEER, "*"), (), "never=one"),), "sets": SETS},
            None,
        ),
        ("link", PEER, {"accept_tags": False, "sets": SETS}, None),  # tags that only the cloud shows may consent
        ("link", PEER, {"accept_tags": False}, "no-consent"),
        ("unlink", PEER, {"accept_tags": False}, None),
    ],
)
def test_what_the_policy_alone_denies_is_known_without_the_cloud(
    action: Any, target: str, changes: dict[str, Any], code: str | None
) -> None:
    """None where the functions may decide otherwise. A mutual link opens every port, and so any that is denied."""
    denial = policy_denial(policy(**changes), request(action, HOME, target), "", NOW)
    assert (denial.reason.code if denial else None) == code


def test_an_allow_list_alone_consents_to_the_sides_that_hold_rules() -> None:
    """With ports, the target's. It may name a group of an instance, which only the cloud shows."""
    one_way = policy(accept_tags=False, allow=(Allow(Grantee(HOME, "*"), Grantee(PEER, "*"), (), "allow=one"),))
    wish, home, far = request("link", HOME, PEER), PARTIES[HOME], PARTIES[PEER]
    links = [Link(home, far, P22), Link(home, far), Link(far, home, P22), Link(Party(HOME, "i-a"), Party(PEER, "i-b"))]
    denials = [policy_denial(one_way, msgspec.structs.replace(wish, link=link), "", NOW) for link in links]
    assert [bool(denial) for denial in denials] == [False, True, True, False]
