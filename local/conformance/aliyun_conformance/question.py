"""What a question to a cloud is: a test with the mark `real_cloud`, whose docstring says what is assumed.

`@pytest.mark.real_cloud(28, Need.ROLE, expected="allowed", cleanup="none")`: its number, what it needs
besides throw-away groups, what an answer as assumed looks like, and what is removed after it. The test gets the fixture `bench`,
says with `bench.saw(…)` what the cloud did, and asserts that this is what is assumed.
"""

from __future__ import annotations

from enum import Enum

import msgspec

MARK = "real_cloud"
FIRST_DAY = (30, 52, 36, 59, 38, 53, 200, 56, 121, 120, 176, 68, 60, 19, 142)
"""The rows that a first deployment meets and of which a knob of the local cloud has each answer, in their order on the page: asked
before all others."""

FIRST_EVENING = (4, 11, 18, 7, 20, 5, 6, 55, 200, 59)
"""The ten whose other answer would cost a program most, of those that need an account and a marked group alone: whether rules between
two addresses exist at all, of which protocol and on which groups; whether a change shows in time to be believed; whether groups show
their tags, and unknown ids are left out of a list; whether a rule keeps what it has while its description changes, and since when it
stands; whether a queue shows what waits; whether changes of tags arrive as events. The one that waits for an event comes last."""
FIRST_EVENING_CALLS = {"ecs": 150, "eventbridge": 30, "mns": 10, "sts": 1}
"""How many calls of each service they make where it shows a change at once. Those of MNS do not grow with its delay, and are the only
ones for which a price is published [doc SMQ billing]."""
FIRST_EVENING_MINUTES = 20


class Need(Enum):
    """What a question needs besides throw-away groups; the value is what to do about its absence."""

    INSTANCES = "needs --instances"
    SECOND_VPC = "needs a second VPC with a marked group"
    PEER = "needs --peer"
    ROLE = "needs --role"
    INTERFACES = "needs --vswitch"


class Verdict(str, Enum):
    """How a question ended."""

    EXPECTED = "as expected"
    DIFFERENT = "different"
    UNANSWERED = "not answered"


class NotAnswered(Exception):
    """A question cannot be answered here; the message says why."""


class Question(msgspec.Struct, frozen=True):
    """One assumption. `cases` are the ids of its tests, one for each set of parameters. Texts are Markdown on one line."""

    number: int
    assumed: str
    expected: str
    cleanup: str
    needs: tuple[Need, ...]
    cases: tuple[str, ...]


def cleanup_of(needs: tuple[Need, ...]) -> str:
    """What is removed after a question that does not say it."""
    return ("release the instances, " if Need.INSTANCES in needs else "") + "delete the groups"
