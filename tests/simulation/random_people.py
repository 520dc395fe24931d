"""What people, tools and tenants do in a random run: one rule for each kind, so that deliveries are about as
frequent."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule
from link_peer.domain.model import ALL, Party, Port, RuleKey
from link_peer.domain.tags import compact, iso, parse_port

from tests.simulation import oracle
from tests.simulation.messages import Message
from tests.simulation.random_inputs import (
    EDITS,
    FORGED,
    IPS,
    POLICIES,
    PORTS,
    UNTILS,
    groups,
    instances,
    peer_tag,
    ports,
)
from tests.simulation.scenarios.common import POLICY
from tests.simulation.world import HOME, PEER, World

steps: Counter[str] = Counter()
"""How many steps of each kind were taken in this process."""


class People(RuleBasedStateMachine):
    """The world of a random run, and what is done to it between deliveries."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.policy = POLICY
        self.sent: list[Message] = []
        self.pending: list[Message] = []  # not acknowledged yet
        self.applied: dict[str, dict[RuleKey, str]] = {}  # by request id: rules that must have its claim
        self.number = 0

    def _changed(self, kind: str) -> None:
        """Notes a change after which applied rules may rightly be gone."""
        steps[kind] += 1
        self.applied.clear()

    @rule(
        party=instances,
        peer=st.one_of(groups, instances),
        wanted_ports=ports,
        key=st.sampled_from(["link-peer", "link-peer.2"]),
    )
    def tag(self, party: Party, peer: Party, wanted_ports: list[str], key: str) -> None:
        """Tags an instance."""
        if party in self.world.instances and (peer.is_group or peer.account == party.account):
            steps["tag"] += 1
            self.world.set_tag(party, key, peer_tag(party, peer, wanted_ports))

    @rule(
        party=instances, key=st.sampled_from(["link-peer", "link-peer.2", "link-until"]), text=st.sampled_from(UNTILS)
    )
    def untag(self, party: Party, key: str, text: str) -> None:
        """Removes a tag, or sets link-until."""
        if party in self.world.instances:
            steps["untag"] += 1
            value = iso(self.world.now + int(text)) if text[1:].isdigit() else text
            self.world.set_tag(party, key, value if key == "link-until" and value else None)

    @rule(
        group=groups,
        holder=st.one_of(groups, instances),
        limits=ports,
        kind=st.sampled_from(["*", "who", "typo", "", ""]),
    )
    def refuse(self, group: Party, holder: Party, limits: list[str], kind: str) -> None:
        """A group refuses everybody of an account, one party, or, since nobody can read it, everybody; or it takes its
        refusal off."""
        self._changed("refusal")
        suffix = ":" + "+".join(limits) if limits else ""
        texts = {"*": f"*@{holder.account}{suffix}", "who": f"{holder}{suffix}", "typo": "sg_a"}
        self.world.set_tag(group, "link-refuse", texts.get(kind))

    @rule(group=groups, port=st.sampled_from([*PORTS, "all"]))
    def let_out(self, group: Party, port: str) -> None:
        """A person lets a group reach every address."""
        self._changed("let out")
        self.world.let_out(group, ALL if port == "all" else parse_port(port))

    @rule(group=groups, kind=st.sampled_from(["strip", "lock", "unlock", "isolate"]))
    def change_group(self, group: Party, kind: str) -> None:
        """Terraform strips a group's tags, or somebody locks it, or changes whether its members reach each other."""
        self._changed(kind)
        if kind == "strip":
            self.world.strip_tags(group)
        elif kind == "isolate":
            self.world.isolated ^= {group}
        else:
            self.world.set_tag(group, "link-lock", "INC-7" if kind == "lock" else None)

    @rule(ends=st.tuples(groups, groups), port=st.sampled_from([*PORTS, "all"]), claim=st.sampled_from(FORGED))
    def forge(self, ends: tuple[Party, Party], port: str, claim: str) -> None:
        """A tenant writes a rule with a valid marker of ours."""
        source, target = ends
        if source != target and not self.world.groups[target].managed:
            self._changed("forge")
            key = RuleKey(target, str(source), "", ALL if port == "all" else parse_port(port))
            self.world.forge(key, oracle.marker(key, self.policy, claim))

    @rule(hide=st.booleans())
    def change_role(self, hide: bool) -> None:
        """The peer account revokes its role, or gives it back."""
        self._changed("role")
        self.world.revoked = {PEER} if hide else set()

    @rule(
        group=groups,
        party=st.one_of(groups, instances),
        limits=ports,
        kind=st.sampled_from(["*", "*", "who", "until", "nobody"]),
        key=st.sampled_from(["link-accept", "link-egress"]),
    )
    def set_consent(self, group: Party, party: Party, limits: list[str], kind: str, key: str) -> None:
        """Sets a group's consent at one end: to everyone, to one party, to everyone for a time, or to nobody."""
        self._changed("consent")
        end = f"~{compact(self.world.now + 500)}" if kind == "until" else ""
        name = (
            f"*@{HOME}{end} *@{PEER}{end}"
            if kind in ("*", "until")
            else f"{party.id}@{party.account}" + (":" + "+".join(limits) if limits else "")
        )
        self.world.set_tag(group, key, None if kind == "nobody" else name)

    @rule(group=groups, env=st.sampled_from(["prod", "dev", None]))
    def set_env(self, group: Party, env: str | None) -> None:
        """Moves a group into a set of the policy, or out of it."""
        self._changed("env")
        self.world.set_tag(group, "env", env)

    @rule(party=instances, group=groups, ip=st.sampled_from(IPS), away=st.booleans())
    def change_instance(self, party: Party, group: Party, ip: str, away: bool) -> None:
        """Starts an instance, perhaps with an address that was used before or none yet; or releases or moves it.

        One instance per account is never released: an account that shows none is not trusted.
        """
        vpc = "vpc-2" if away else "vpc-1"  # where another instance may have the same address
        used = {instance.ip for instance in self.world.instances.values() if instance.vpc == vpc}
        if party not in self.world.instances:
            if group.account == party.account and (not ip or ip not in used):
                self._changed("start")
                self.world.add_instance(party.account, party.id[2:], group, ip=ip, vpc=vpc)
        elif ip and party.id not in ("i-1", "i-4"):
            self._changed("release")
            del self.world.instances[party]
        elif group.account == party.account:
            self._changed("move")
            instance = self.world.instances[party]
            self.world.instances[party] = msgspec.structs.replace(instance, groups=(group.id,))

    @rule(policy=st.sampled_from(POLICIES), seconds=st.sampled_from([30, 301, 700]))
    def advance_time(self, policy: Any, seconds: int) -> None:
        """Advances the time; the policy may change."""
        steps["advance time"] += 1
        if policy != self.policy:
            self._changed("policy")
        self.policy = policy
        self.world.now += seconds

    @rule(
        ends=st.tuples(groups, groups),
        port=st.sampled_from([*PORTS, "all"]),
        priority=st.sampled_from([1, 50, 100]),
        policy=st.sampled_from(["accept", "accept", "drop"]),
    )
    def add_manual_rule(self, ends: tuple[Party, Party], port: str, priority: int, policy: str) -> None:
        """Adds a manual rule."""
        source, target = ends
        key = RuleKey(target, str(source), "", ALL if port == "all" else parse_port(port))
        existing = self.world.rules[target].values()
        if source != target and not any((r.key, r.priority) == (key, priority) for r in existing):
            self._changed(f"manual {policy}")
            self.world.add_manual_rule(key, "by hand", priority, policy)

    @rule(group=groups, number=st.integers(0, 9), text=st.sampled_from(EDITS))
    def edit_rule(self, group: Party, number: int, text: str) -> None:
        """Deletes a rule, changes its description or priority, or copies its marker to a manual rule."""
        ids = sorted(self.world.rules[group])
        if not ids:
            return
        rule_id = ids[number % len(ids)]
        self._changed(f"manual {text}" if text in ("delete", "strengthen", "copy") else "manual edit")
        if text == "delete":
            self.world.delete_manually(group, rule_id)
        elif text == "copy":
            old = self.world.rules[group][rule_id]
            if old.key is not None and old.key.port != Port("udp", 1, 1):
                key = msgspec.structs.replace(old.key, port=Port("udp", 1, 1))
                self.world.add_manual_rule(key, old.description, 99)
        else:
            self.world.edit_manually(group, rule_id, text)
