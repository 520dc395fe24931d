"""The policy in a text: decoded by `policy_types`, and what relates its values checked here."""

from __future__ import annotations

import contextlib
import ipaddress
import math
from collections.abc import Iterator, Sequence

from link_peer.domain.errors import BadInput
from link_peer.domain.model import Party, Ports, ports_text
from link_peer.domain.policy import AccountPolicy, Allow, GroupSet, Never, Pause, Policy, PolicyTest
from link_peer.domain.tags import (
    DEFAULT_TAG_PREFIX,
    SET,
    SET_KEYS,
    Grantee,
    compact,
    is_name,
    parse_instant,
    parse_port,
    parse_ports,
    parse_who,
    quoted,
    unique_ports,
)
from link_peer.inbound.policy_types import AccountEntry, AllowEntry, NeverEntry, PolicyFile
from link_peer.inbound.yaml_reader import YamlReader

_ONE_HOME = "exactly one account, the home account, must have no role"


def parse(text: str, name: str) -> Policy:
    """The policy in a text; `name` is the file's name in errors. Raises PolicyError."""
    reader = YamlReader(text, name)
    file = reader.decode(PolicyFile)
    if file is None:
        reader.fail_index(0, "the file is empty: add `deployment` and `accounts`")
    return _Checked(reader, file).policy()


class _Checked:
    """The values of a file, related to each other. `at` is where a value stands, for the error."""

    def __init__(self, reader: YamlReader, file: PolicyFile) -> None:
        self._fail = reader.fail
        self._file = file

    def policy(self) -> Policy:
        """The policy. Raises PolicyError."""
        file = self._file
        self._check_accounts()
        self._check_sets()
        return Policy(
            file.deployment,
            {uid: _account(uid, account) for uid, account in file.accounts.items()},
            file.accept_tags,
            tuple(self._allow(entry, f"allow[{number}]") for number, entry in enumerate(file.allow)),
            self._ports(file.deny.ports, "deny.ports") if file.deny else (),
            file.limits,
            Pause(str(file.paused).lower()),
            tuple(self._tests()),
            tuple(self._never(entry, f"never[{number}]") for number, entry in enumerate(file.never)),
            {name: GroupSet(group_set.account, group_set.tags) for name, group_set in file.sets.items()},
            {name: self._party(text, f"names.{name}") for name, text in file.names.items()},
            denies_mutual=file.mutual == "deny",
            tag_prefix=file.tag_prefix or "",
        )

    def _check_accounts(self) -> None:
        homes = [uid for uid, account in self._file.accounts.items() if not account.role]
        if not homes:
            self._fail("accounts", f"{_ONE_HOME}: add the function's own account")
        if len(homes) > 1:
            self._fail(f"accounts.{homes[1]}", f"has no role, and neither has {homes[0]}: {_ONE_HOME}")
        owners: dict[str, str] = {}  # accounts by the name of their queue
        for uid, account in self._file.accounts.items():
            at = f"accounts.{uid}"
            self._check_role(uid, account, at)
            if account.queue and (owner := owners.setdefault(account.queue, uid)) != uid:
                self._fail(f"{at}.queue", f"{account.queue} is already the queue of {owner}: give each its own")
            for number, text in enumerate(account.ranges or ()):
                with contextlib.suppress(ValueError):
                    # IPv4Network also reads a netmask, and an address without a prefix length.
                    if str(ipaddress.IPv4Network(text)) == text:
                        continue
                problem = f"{quoted(text)} is not an IPv4 network like 10.20.0.0/16, without host bits"
                self._fail(f"{at}.ranges[{number}]", problem)
        self._refuse_overlap()

    def _check_role(self, uid: str, account: AccountEntry, at: str) -> None:
        if account.role and not account.role.startswith(f"acs:ram::{uid}:"):
            self._fail(f"{at}.role", f"{quoted(account.role)} is not acs:ram::{uid}:role/<name>")
        if account.role and not account.external_id:
            self._fail(at, "a role needs an external_id: add the one in the role's trust policy")
        if account.external_id and not account.role:
            self._fail(f"{at}.external_id", "is only for a role: add `role`, or remove it")

    def _refuse_overlap(self) -> None:
        """An address must tell whose it is. Networks are apart or one within the other, so that it is enough to compare
        each with the widest that reaches so far."""
        accounts = self._file.accounts.items()
        ranges = [
            (ipaddress.IPv4Network(network), uid) for uid, account in accounts for network in account.ranges or ()
        ]
        widest: tuple[ipaddress.IPv4Network, str] | None = None
        for network, uid in sorted(ranges):
            if widest is None or not network.overlaps(widest[0]):
                widest = network, uid
            elif uid != widest[1]:
                problem = f"{network} of {uid} and {widest[0]} of {widest[1]} overlap"
                self._fail(f"accounts.{uid}.ranges", f"{problem}: an address must tell its account")

    def _check_sets(self) -> None:
        ours = f"{self._file.tag_prefix or DEFAULT_TAG_PREFIX}-"  # how the keys of the deployment's own tags begin
        keys: set[str] = set()
        for name, group_set in self._file.sets.items():
            at = f"sets.{name}"
            self._listed(group_set.account, f"{at}.account")
            if own_key := next((key for key in group_set.tags if key.startswith(ours)), None):
                self._fail(
                    f"{at}.tags.{own_key}", f"begins with {ours}, as the tags of link-peer do: choose another key"
                )
            keys.update(group_set.tags)
            if len(keys) > SET_KEYS:
                self._fail(f"{at}.tags", f"more than {SET_KEYS} different keys in all sets: RAM denies each by name")

    def _allow(self, entry: AllowEntry, at: str) -> Allow:
        source, target, ports, text = self._pair(entry, at)
        until = None
        if entry.until:
            with self._input(f"{at}.until"):
                until = math.floor(parse_instant(entry.until))
            text += f"~{compact(until)}"
        return Allow(source, target, ports, f"allow={text}", until)

    def _never(self, entry: NeverEntry, at: str) -> Never:
        source, target, ports, text = self._pair(entry, at)
        return Never(source, target, ports, f"never={text}")

    def _pair(self, entry: AllowEntry | NeverEntry, at: str) -> tuple[Grantee, Grantee, Ports, str]:
        """The two ends and the ports of an entry, and how records write them."""
        source, target = self._end(entry.source, f"{at}.from"), self._end(entry.target, f"{at}.to")
        ports = self._ports(entry.ports or (), f"{at}.ports")
        return source, target, ports, f"{source}->{target}" + (f":{ports_text(ports)}" if ports else "")

    def _end(self, text: str, at: str) -> Grantee:
        """A party with its account, `set:<name>`, or a name of `names`, which stands for its id."""
        if not text.startswith(SET):
            return self._party_or_any(text, at)
        if (group_set := self._file.sets.get(text.removeprefix(SET))) is None:
            self._fail(at, f"{quoted(text)} is not one of the policy's sets: add it under sets")
        return Grantee(group_set.account, text)

    def _party_or_any(self, text: str, at: str) -> Grantee:
        if is_name(text):
            if text not in self._file.names:
                self._fail(at, f"{quoted(text)} is not one of the policy's names: add it under names")
            text = self._file.names[text]
        with self._input(at):
            parsed = parse_who(text, None)
        self._listed(parsed.account, at)
        return parsed

    def _party(self, text: str, at: str) -> Party:
        parsed = self._party_or_any(text, at)
        return Party(parsed.account, parsed.id)

    def _listed(self, uid: str, at: str) -> None:
        if uid not in self._file.accounts:
            self._fail(at, f"account {uid} is not listed: add it under accounts")

    def _ports(self, texts: Sequence[str], at: str) -> Ports:
        ports = []
        for number, text in enumerate(texts):
            with self._input(f"{at}[{number}]"):
                ports.append(parse_port(text))
        return unique_ports(ports)

    def _tests(self) -> Iterator[PolicyTest]:
        for number, entry in enumerate(self._file.tests):
            at = f"tests[{number}]"
            accept, deny = self._links(entry.accept, f"{at}.accept"), self._links(entry.deny, f"{at}.deny")
            if not accept and not deny:
                self._fail(at, "tests nothing: list links under `accept` or `deny`")
            yield PolicyTest(self._party_or_any(entry.source, f"{at}.from"), accept, deny)

    def _links(self, texts: Sequence[str], at: str) -> tuple[tuple[Grantee, Ports], ...]:
        """The links of a test: `sg-db@<uid>:tcp/3306`, without ports for the mutual link."""
        links: list[tuple[Grantee, Ports]] = []
        for number, text in enumerate(texts):
            where = f"{at}[{number}]"
            name, colon, ports = text.partition(":")
            with self._input(where):
                links.append((self._party_or_any(name, where), parse_ports(ports) if colon else ()))
        return tuple(links)

    @contextlib.contextmanager
    def _input(self, at: str) -> Iterator[None]:
        try:
            yield
        except BadInput as error:
            self._fail(at, error.problem)


def _account(uid: str, account: AccountEntry) -> AccountPolicy:
    return AccountPolicy(
        account.name or uid,
        account.role or None,
        account.external_id or None,
        tuple(account.ranges or ()),
        account.queue or "",
        account.flowlog or "",
    )
