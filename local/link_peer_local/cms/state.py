"""What CloudMonitor keeps for an account."""

from __future__ import annotations

from msgspec import Struct, field


class Escalation(Struct, frozen=True):
    """A threshold of one level."""

    comparison_operator: str
    statistics: str
    threshold: str
    times: int


class Alarm(Struct, frozen=True):
    """A threshold rule on the metric of a cloud service. Its fields are strings, as the API has them.

    `escalations` are by level: Critical, Warn, Info. `resources` is the JSON that was sent.
    """

    rule_id: str
    rule_name: str
    namespace: str
    metric_name: str
    resources: str
    contact_groups: str
    period: str
    silence_time: int
    mail_subject: str
    escalations: dict[str, Escalation]


class Account(Struct):
    """The rules by id, the addresses of contacts by name, and the contacts of groups by name."""

    alarms: dict[str, Alarm] = field(default_factory=dict)
    contacts: dict[str, str] = field(default_factory=dict)
    groups: dict[str, list[str]] = field(default_factory=dict)
