"""Finds a rule, and plans its adoption from what the cloud shows now."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from link_peer.domain.denials import LinkDenied
from link_peer.domain.errors import LinkPeerError
from link_peer.domain.model import Claim, Party, Rule
from link_peer.domain.request import Request
from link_peer.engine.read.access import TOLERANT
from link_peer.engine.read.fetch import Fetch, Progress
from link_peer.planning.authority import request_denial
from link_peer.planning.decision import Question
from link_peer.runtime.ports import Cloud, Record
from link_peer.views.reach import Scene

from link_peer_cli.access.environment import Environment
from link_peer_cli.adoption.expressible import NotAdoptable, link_of_rule, tag_for
from link_peer_cli.adoption.judge import Adoption, is_ours, judge, losses_text, person_made
from link_peer_cli.answers import CloudCall
from link_peer_cli.audit.log import AuditReader, condition
from link_peer_cli.consent.group_tags import GroupTags
from link_peer_cli.inventory.reading import View, rules_first
from link_peer_cli.ui import aliyun

THREADS = 4
TEXT = 256  # characters of a request's reason, and of who asks
VALID_SECONDS = 3600  # of a request


class Wish(msgspec.Struct, frozen=True):
    """How the link is asked for."""

    name: str  # of the adoption in the audit log; also the request's id
    claim: Claim
    asker: Party | None = None  # the instance whose tag asks; None: a request does
    loss: str = ""  # what the rule lost, where an earlier run recorded that
    anyone_may_close: bool = False  # the person accepts an unlink by any sender on the shared queue


class AdoptionPlan(msgspec.Struct, frozen=True):
    """What an adoption does."""

    rule: Rule
    adoption: Adoption
    wish: Wish
    loss: str
    tags: dict[str, str]  # those that the asking instance is given
    request: Request | None  # what is posted on `queue`
    queue: str
    scene: Scene  # what it was decided from

    @property
    def tagging(self) -> list[tuple[Party, dict[str, str], list[str]]]:
        """The tags to set, and those to delete, of each group and of the asking instance."""
        managed = {party: dict.fromkeys(keys, "true") for party, keys in self.adoption.managed}
        consent = dict(self.adoption.consent)
        changes = []
        for party in dict.fromkeys([*consent, *managed]):
            edit = consent.get(party)
            put = {**(edit.put if edit else {}), **managed.get(party, {})}
            changes.append((party, put, edit.drop if edit else []))
        return [*changes, (self.wish.asker, self.tags, [])] if self.wish.asker and self.tags else changes


class AdoptionPlanner:
    """Raises LinkPeerError where the rule is not found or an account cannot be read, NotAdoptable and LinkDenied where
    it cannot be adopted."""

    def __init__(self, env: Environment, cloud: Cloud, tags: GroupTags) -> None:
        self._env = env
        self._cloud = cloud
        self._tags = tags

    def find(self, rule_id: str, group: str, accounts: Sequence[str], progress: Progress) -> Rule:
        """The rule with an id: on a group, else on any group of these accounts. DescribeSecurityGroupAttribute lists
        the rules of one group, and no call finds one by its id."""
        fetch = self._opened()
        view = View(fetch, self._env.policy)
        if group:
            groups = [view.find(group, "--group")]
        else:
            groups = rules_first(fetch.all_groups(accounts))
        fetch.rules_in_time(groups, progress=progress)
        for party in groups:
            for rule in fetch.store.rules.get(party, ()):
                if rule.id == rule_id:
                    return rule
        where = str(groups[0]) if group else f"a group of {', '.join(accounts)}"
        text = f"{rule_id} is not a rule of {where} in {self._env.settings.region}"
        raise LinkPeerError("; ".join([text, *view.problems]))

    def history(self, name: str) -> list[Record]:
        """What the log has of an adoption, by its name."""
        log = AuditReader(self._env.settings, self._env.clock, self._env.keys)
        ids = " or ".join(condition({field: name}) for field in ("request_id", "event_id"))
        records = log.read(f"{condition({'function': 'adopt'})} and ({ids})")
        return [record for record in records if name in (record.get("request_id"), record.get("event_id"))]

    def plan(self, rule: Rule, wish: Wish) -> AdoptionPlan:
        """What adopting the rule would do."""
        env, now = self._env, self._env.now
        if not is_ours(rule, env.policy, env.settings.region):
            person_made(rule, env.policy, env.settings.region)
        view = self._around(rule)
        adoption = self._judged(view, rule, wish.claim, now)
        reason = wish.loss or losses_text(adoption.marks)
        if wish.asker:
            tags = tag_for(view.scene.snapshot, env.policy, adoption.link, wish.asker, now)
            return AdoptionPlan(rule, adoption, wish, reason, tags, None, "", view.scene)
        request, queue = self._request(adoption, wish, reason, now)
        return AdoptionPlan(rule, adoption, wish, reason, {}, request, queue, view.scene)

    def changes(self, plan: AdoptionPlan) -> list[CloudCall]:
        """The `aliyun` commands that make the same changes, in order."""
        region = self._env.settings.region
        calls = [
            CloudCall(party.account, command)
            for party, put, drop in plan.tagging
            for command in self._tags.commands(party, put, drop)
        ]
        return calls + [
            CloudCall(
                mark.rule.group.account, aliyun.modify(region, mark.rule.group.id, mark.rule.id, mark.description)
            )
            for mark in plan.adoption.due
        ]

    def _opened(self) -> Fetch:
        return Fetch(self._cloud, self._env.policy, self._env.clock, TOLERANT, threads=THREADS)

    def _around(self, rule: Rule) -> View:
        """Everything that decides: both ends with their groups, their members, and the rules of all of these."""
        accounts, fetch = sorted(self._env.policy.accounts), self._opened()
        view = View(fetch, self._env.policy)
        ends = [rule.group]
        if rule.key and rule.key.source.startswith("sg-"):
            name, _, account = rule.key.source.partition("@")
            ends += [Party(account, name)] if account in accounts else []
        else:
            fetch.all_instances(accounts)  # an address leads to its instance no other way
        view.around(ends)
        fetch.rules(ends)
        view.deciding([(end, rule.group) for end in ends])
        if problems := view.problems:
            raise LinkPeerError("; ".join(problems))
        return view

    def _judged(self, view: View, rule: Rule, claim: Claim, now: float) -> Adoption:
        """The adoption; what its verdict turns out to depend on is read."""
        region, policy = self._env.settings.region, self._env.policy
        link = link_of_rule(view.scene.snapshot, policy, rule)
        if not link.source.is_group:
            view.around([link.source, link.target])
            view.deciding([(link.source, link.target)])
        answered: set[Question] = set()
        while not isinstance(judgement := judge(view.scene.snapshot, policy, region, rule, link, claim, now), Adoption):
            if judgement <= answered:
                raise LinkPeerError("not everything was read")
            answered |= judgement
            view.answer(judgement)
        return judgement

    def _request(self, adoption: Adoption, wish: Wish, reason: str, now: float) -> tuple[Request, str]:
        """What is posted, and on which queue. Raises LinkDenied where the policy does not take it."""
        env, link = self._env, adoption.link
        if not wish.anyone_may_close:
            self._closed_by_its_own(adoption)
        queue = env.policy.accounts[link.source.account].queue or env.settings.queue  # it proves which account asks
        request = Request(
            wish.name,
            "link",
            env.settings.region,
            link,
            now + VALID_SECONDS,
            wish.claim.until,
            reason[:TEXT],
            self._tags.caller[:TEXT],
        )
        if denial := request_denial(env.policy, request, queue, now):
            raise LinkDenied(denial)
        return request, queue

    def _closed_by_its_own(self, adoption: Adoption) -> None:
        """Raises NotAdoptable where an unlink through the shared queue would remove the rule: one of the two accounts
        has no queue of its own, which proves who asks."""
        env, ends = self._env, {adoption.link.source.account, adoption.link.target.account}
        if shared := sorted(uid for uid in ends if not env.policy.accounts[uid].queue):
            lacking = f"account {', '.join(shared)} {'have' if len(shared) > 1 else 'has'}"
            raise NotAdoptable(
                f"{lacking} no queue of its own, so whoever may send to {env.settings.queue} could remove the adopted rule by an "
                f"unlink: give it one ({', '.join(f'accounts.{uid}.queue' for uid in shared)} in the policy file, then deploy and "
                "run link-peer setup), or accept that: --anyone-may-close. A link by tag (--as tag) cannot be unlinked"
            )
