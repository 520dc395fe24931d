"""The names of everything that one deployment has in the cloud. All begin with its prefix, so two deployments share
none."""

from __future__ import annotations

import re

import msgspec

DEFAULT_PREFIX = "link-peer"
ALIAS = "live"
"""The alias of every function that its triggers invoke."""
VERSION_FILE = "version.txt"
"""The file of a package that says which version of link-peer built it."""

_PREFIX = re.compile(r"[a-z][a-z0-9-]{0,18}[a-z0-9]")
"""Short enough for `<prefix>-<account uid>-<region>`: a log project's name has at most 63 characters [doc SLS
CreateProject]."""


class Names(msgspec.Struct, frozen=True):
    """The names that s.yaml, `setup` and the commands share. `home` is the uid of the account that has the
    functions."""

    home: str
    prefix: str = DEFAULT_PREFIX

    def __post_init__(self) -> None:
        """Raises ValueError for a prefix that no function, role, queue or log project could begin with."""
        if not _PREFIX.fullmatch(self.prefix):
            raise ValueError(f"{self.prefix!a}: 2 to 20 of a-z, 0-9 and -, beginning with a letter")

    @property
    def functions(self) -> dict[str, str]:
        """Handler file to function name."""
        return {name: f"{self.prefix}-{name.replace('_', '-')}" for name in ("auto_link", "cross_account", "sweep")}

    @property
    def function_role(self) -> str:
        """The role of the functions, in the home account."""
        return f"{self.prefix}-fc"

    @property
    def reader_role(self) -> str:
        """The role that people assume to look, in every account."""
        return f"{self.prefix}-reader"

    @property
    def operator_role(self) -> str:
        """The role that people assume to sweep and close, in the home account."""
        return f"{self.prefix}-operator"

    @property
    def peer_role(self) -> str:
        """The role in every other account that the functions and operators assume."""
        return self.prefix

    @property
    def queue(self) -> str:
        """The queue for requests that all accounts share."""
        return f"{self.prefix}-requests"

    def queue_of(self, account: str) -> str:
        """The queue that only `account` may send to."""
        return f"{self.queue}-{account}"

    @property
    def sweep_queue(self) -> str:
        """The queue by which a sweep has its accounts looked at, one a message. Only the functions may send to it."""
        return f"{self.prefix}-sweeps"

    @property
    def dead_letters(self) -> str:
        """The queue that holds what could not be delivered."""
        return f"{self.prefix}-dead-letters"

    @property
    def queues(self) -> list[str]:
        """The queues of the deployment itself, which speak for no account."""
        return [self.dead_letters, self.queue, self.sweep_queue]

    def audit_project(self, region: str) -> str:
        """The log project. No other customer of a region may have its name, so it has the uid in it; and the region,
        since the documents disagree whether one name may be used in two [doc SLS CreateProject, error codes, quick
        start]."""
        return f"{self.prefix}-{self.home}-{region}"

    @property
    def audit_logstore(self) -> str:
        """The logstore of the audit records."""
        return "decisions"

    @property
    def operator_logstore(self) -> str:
        """The logstore of the records of people's commands, which the functions cannot write."""
        return f"{self.audit_logstore}-operators"

    @property
    def function_logstore(self) -> str:
        """The logstore of the functions' own output."""
        return "functions"
