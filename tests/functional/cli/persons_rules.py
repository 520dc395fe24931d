"""Rules that a person makes, for the tests of `link-peer adopt`."""

from __future__ import annotations

from link_peer_local.ecs.state import Group

from tests.functional.lab import Lab

ALL = {"IpProtocol": "ALL", "PortRange": "-1/-1"}
"""Every port, of any protocol."""


def person(lab: Lab, target: Group, source: Group | None = None, **fields: str) -> str:
    """A rule that a person makes, on TCP 3306 unless said otherwise; returns its id."""
    given = {"IpProtocol": "TCP", "PortRange": "3306/3306", "Policy": "accept", "NicType": "intranet"}
    given |= {"Priority": "1", "Description": "orders", **fields}
    if source is not None:
        given["SourceGroupId"] = source.id
        if source.account != target.account:
            given["SourceGroupOwnerId"] = source.account
    return lab.authorize(target, **{name: value for name, value in given.items() if value})


def ids(lab: Lab, group: Group) -> list[str]:
    """The ids of the rules of a group."""
    return [rule["SecurityGroupRuleId"] for rule in lab.raw_rules(group)]
