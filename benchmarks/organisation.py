"""An organisation of any number of accounts, for the figures and the model of scale: home, and others that home
enters."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from aliyun_local.api import LocalCloud
from link_peer.domain import marker
from link_peer.domain.model import Claim, Marker, Party, RuleKey
from link_peer.domain.request import SweepAccount
from link_peer.domain.tags import DEFAULT_TAG_PREFIX, tag_keys
from link_peer.inbound.requests import encode
from link_peer_cli.demo.deployment import deployment_of

from benchmarks import worlds
from benchmarks.worlds import HOME, PORT, SWEEPS

ACCEPT, ENDED = "link-accept", "20260101T000000Z"


def uids(accounts: int) -> list[str]:
    """The accounts, home first."""
    return [str(int(HOME) + number) for number in range(accounts)]


def written(folder: Path, accounts: int) -> str:
    """The world's file: accounts with the roles of deploy/, and nothing in them."""
    names = {uid: f"n{number}@example.com" for number, uid in enumerate(uids(accounts))}
    text = {"home": HOME, "deployment": "prod", "accounts": names, "vpcs": []}
    path = folder / "world.yaml"
    path.write_text(json.dumps(text), encoding="utf-8")
    return str(path)


def policy(cloud: LocalCloud) -> bytes:
    """The policy file of these accounts."""
    return Path(deployment_of(cloud).policy).read_bytes()


def settle(cloud: LocalCloud, accounts: int, groups: int, instances: int) -> None:
    """In each account so many managed groups and instances. Each group admits another one by a rule of ours, which the
    tag of an instance asks for: nothing is to do."""
    for uid in uids(accounts):
        worlds.ring(cloud, groups, instances, groups, account=uid)


def connect(cloud: LocalCloud, accounts: int) -> None:
    """In each account a managed group with a rule by address for an instance of the next account, which a request asked
    for, and that instance, in a group of its own. All are in a VPC that home shares."""
    names, keys = uids(accounts), tag_keys(DEFAULT_TAG_PREFIX, "prod", HOME)
    vpc = cloud.ecs.create_vpc(HOME, "10.200.0.0/16", shared_with=names[1:])
    groups = [cloud.ecs.create_group(uid, vpc.id) for uid in names]
    senders = [(group, cloud.ecs.create_instance(group.account, [group.id])) for group in groups]
    for uid, (sender_group, sender) in zip(names, senders[1:] + senders[:1], strict=True):
        source = Party(sender.account, sender_group.id)
        tags = {keys.managed: "true", keys.instances: "true", keys.accept: f"{source}:{PORT}"}
        group = Party(uid, cloud.ecs.create_group(uid, vpc.id, tags=tags, type="enterprise").id)
        key = RuleKey(group, f"{sender.private_ip}/32", "", PORT)
        ends = (Party(sender.account, sender.id), source)
        mark = Marker(HOME, "prod", key.id(HOME, "prod", cloud.region), (Claim("chg-1"),), ends)
        worlds.authorize(cloud, group, key.source, PORT, marker.render(mark))


def end(cloud: LocalCloud) -> list[str]:
    """Of three groups in each account, one is locked, one takes back its consent, and the consent of one has ended: the
    groups whose rules must go."""
    ended = []
    for owner in cloud.ecs.accounts.values():
        for group, how in zip(list(owner.groups.values()), ("locked", "withdrawn", "ended"), strict=False):
            before = group.tags.at(cloud.clock.now())
            accept = {"withdrawn": {}, "ended": {ACCEPT: f"{before[ACCEPT]}~{ENDED}"}}.get(
                how, {ACCEPT: before[ACCEPT]}
            )
            remaining_tags = {key: text for key, text in before.items() if key != ACCEPT}
            tags = {**remaining_tags, **accept, **({"link-lock": "yes"} if how == "locked" else {})}
            group.tags.change(0, lambda _old, tags=tags: tags)  # type: ignore[misc]
            ended.append(str(Party(owner.uid, group.id)))
    return ended


def standing(cloud: LocalCloud, groups: Sequence[str]) -> int:
    """How many of these groups (`sg-…@<uid>`) hold a rule."""
    parties = [group.partition("@") for group in groups]
    return sum(bool(cloud.ecs.account(uid).groups[name].rules.at(cloud.clock.now())) for name, _, uid in parties)


def post_sweeps(cloud: LocalCloud, accounts: int) -> None:
    """Posts what the timer posts for each account when it is its turn."""
    for uid in uids(accounts):
        cloud.mns.send(HOME, SWEEPS, encode(SweepAccount(cloud.region, uid, cloud.clock.now())).decode())
