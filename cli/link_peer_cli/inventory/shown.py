"""Links and rules as `explain`, `links` and `map` show them: answers for programs, words for people."""

from __future__ import annotations

import functools
import re
import sys
from collections import Counter
from collections.abc import Collection, Mapping, Sequence

import msgspec
from link_peer.domain.model import Group, Instance, Link, Party, Port, Rule, ports_text
from link_peer.domain.policy import Policy
from link_peer.domain.snapshot import Snapshot
from link_peer.domain.tags import iso, parse_instant
from link_peer.planning.actual import renamed_rules
from link_peer.planning.decision import Plan
from link_peer.planning.writing import note
from link_peer.views.reach import Scene
from link_peer.views.standing import Standing, admitted, removal_reasons, standing, state_of, sweep_of

from link_peer_cli.access.environment import Environment
from link_peer_cli.answers.links import Ends, Explanation, LinkAnswer, OwnRule, Reacher, RuleAnswer
from link_peer_cli.audit.consented import UNKNOWN, consented_by
from link_peer_cli.audit.story import RequestStories
from link_peer_cli.inventory.reading import View
from link_peer_cli.ui.console import when
from link_peer_cli.ui.tables import Column, Table, by_name, by_words

DAY = 86400


def links_of(env: Environment, view: View) -> list[Standing]:
    """The links that stand: ours, then those of this home under another deployment's name."""
    return links_under(env, view, view.next_sweep(env.settings.region, env.now))


def links_under(env: Environment, view: View, plan: Plan) -> list[Standing]:
    """The same, with the plan of the next sweep, which says what is closing."""
    going = removal_reasons(plan, env.policy)
    read = (view.scene.snapshot, env.policy, env.settings.region)
    return standing(*read, env.now, going=going) + standing(*read, env.now, renamed_rules(*read))


def settled_links(env: Environment, view: View) -> tuple[list[Standing], bool]:
    """Of the links that stand, as far as rules were read, those that rules of other groups do not change, and whether
    these are all. What decides about them is read. Whether too many are closing is known once all rules were."""
    while True:
        plan = view.next_sweep(env.settings.region, env.now, reads_on=False)
        links, unread_groups = links_under(env, view, plan), view.unread_groups
        view.deciding((link.source, link.target) for link in links)
        if not view.has_rules_of_ours(unread_groups):
            settled = [link for link in links if not (link.closing and plan.due)]
            return settled, len(settled) == len(links)


def links_about(
    env: Environment, view: View, links: Sequence[Standing], party: str, field: str, ports: Sequence[Port]
) -> list[Standing]:
    """Of these links those of one party, if it is given, that open one of these ports, if there are any. Raises
    BadInput for `field` if there is no such party."""
    if party:
        end = view.find(party, field, functools.partial(standing_ends, env, view))
        near = view.scene.groups(end)
        links = [link for link in links if _is_of(link, end, near)]
    return [link for link in links if not ports or link.mutual or any(a.overlaps(b) for a in link.ports for b in ports)]


def _is_of(link: Standing, end: Party, groups: Collection[Party]) -> bool:
    """Whether the link has this end, or admits this instance, or leads to it. `groups` are those of an instance."""
    by_group = {link.target} if link.members else {link.source, link.target}
    return end in {link.source, link.target, *link.members} or not by_group.isdisjoint(groups)


def standing_ends(env: Environment, view: View) -> set[Party]:
    """The parties of the links that stand: one that was released, or deleted, has its rules until the next sweep. Reads
    everything."""
    view.read_all()
    return {end for link in links_of(env, view) for end in (link.source, link.target, *link.members)}


def link_answer(scene: Scene, link: Standing, history: RequestStories, region: str, deployment: str) -> LinkAnswer:
    """A link that stands. Instants are RFC 3339; a link without an end has an empty `until`."""
    state, state_detail = state_of(scene, link)
    return LinkAnswer(
        *id_account_name(scene, link.source),
        *id_account_name(scene, link.target),
        ports=link.ports_text,
        state=state,
        state_detail=state_detail,
        since=iso(link.since) if link.since is not None else "",
        until=iso(link.until) if link.until is not None else "",
        claims=[claim.request or "tag" for claim in link.claims],
        deployment=deployment,
        asked_by=asked_by(scene, link, history),
        reasons=[reason for request in link.requests for reason in history.reasons(link, request)],
        consent=list(link.consent),
        consented_by=[history.consented.get(label, UNKNOWN) for label in link.consent],
        instances=admitted(scene, link),
        written=link.written,
        written_detail=note(scene.snapshot, Link(link.source, link.target, link.ports)) if link.members else "",
        by_address=[scene.titled(party) for party in link.members],
        rules=[
            OwnRule(rule.group.account, rule.group.id, "egress" if rule.is_egress else "ingress", rule.id)
            for rule in link.rules
        ],
        link=Link(link.source, link.target, link.ports).id(region),
    )


def id_account_name(scene: Scene, party: Party) -> tuple[str, str, str]:
    """An end of a link: the party's id, account and name."""
    return party.id, party.account, scene.name(party)


def asked_by(scene: Scene, link: Standing, history: RequestStories) -> list[str]:
    """Who asked for a link: instances by their tags, and what the log knows of its requests."""
    instances = [scene.titled(party) for party in link.askers]
    return instances + [
        f"{request}: {asker}" for request in link.requests if (asker := history.requester(link, request))
    ]


def span(seconds: float) -> str:
    """A span of time in its largest unit."""
    seconds = max(0, int(seconds))
    for unit, size in (("d", DAY), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def rule_answer(rule: Rule, *, decides: bool) -> RuleAnswer:
    """A rule of a person."""
    traffic = rule.traffic
    return RuleAnswer(
        rule_id=rule.id,
        account=rule.group.account,
        group=rule.group.id,
        direction=traffic.direction if traffic else "",
        policy=rule.policy,
        priority=rule.priority,
        peer=(traffic.peer or "a prefix list") if traffic else "",
        ports=ports_text([traffic.port]) if traffic and traffic.port else "a port list",
        since=rule.created,
        description=rule.description,
        decides=decides,
    )


def answers_of(env: Environment, view: View, links: Sequence[Standing]) -> tuple[list[LinkAnswer], str]:
    """Each link, and why the audit log could not be read, if so."""
    view.deciding((link.source, link.target) for link in links)
    history = history_of(env, links, prove=False)
    return link_answers(env, view.scene, links, history), history.problem


def history_of(env: Environment, links: Sequence[Standing], *, prove: bool) -> RequestStories:
    """Who asked for each link, and who consented; `prove`: as far as ActionTrail tells."""
    history = RequestStories()
    if requests := [request for link in links for request in link.requests]:
        history.read(env, requests, min(link.since or 0 for link in links if link.requests))
    history.consented, problem = consented_by(env, links, prove=prove)
    history.problem = history.problem or problem
    return history


def link_answers(
    env: Environment, scene: Scene, links: Sequence[Standing], history: RequestStories
) -> list[LinkAnswer]:
    """Each link, from what was read."""
    return [
        link_answer(scene, link, history, env.settings.region, other_name(env.policy, link.deployment))
        for link in links
    ]


def other_name(policy: Policy, deployment: str) -> str:
    """The name of a deployment, if it is not ours."""
    return "" if deployment == policy.deployment else deployment


def claims_text(claims: Sequence[str], deployment: str) -> str:
    """Claims in one cell, with whose they are where they are not ours."""
    return " ".join([*claims, *([f"(of deployment {deployment})"] if deployment else [])])


def instances_text(link: LinkAnswer) -> str:
    """How many instances a link admits; of one by address, which."""
    if link.by_address:
        ids = [title.partition("@")[0] for title in link.by_address[:MAX_INSTANCE_NAMES]]
        return f"{link.instances}: {' '.join(ids)}" + (" …" if len(link.by_address) > MAX_INSTANCE_NAMES else "")
    return "" if link.instances is None else str(link.instances)


MAX_INSTANCE_NAMES = 5
"""Instances of a link by address that a cell names; JSON and CSV name all."""

_PARTY = re.compile(r"\b((?:sg|i)-[0-9a-z]+)@(\d+)")
_INSTANT = re.compile(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
_SHORT = re.compile(r"[\w.@-]{1,32}")
_NAME = re.compile(r"(?!(?:sg|i)-)[\w.:/-]+")


class Wording(msgspec.Struct, frozen=True):
    """How to word what a command prints."""

    now: float | None  # epoch seconds; None for programs
    names: Mapping[str, str]  # what accounts are called instead of their uids
    parties: Mapping[Party, str] = {}  # what groups and instances are called instead of their ids

    def ago(self, instant: str) -> str:
        """When something was: `3 d ago`; for programs the instant. Empty if it is not known."""
        return f"{span(self.now - parse_instant(instant))} ago" if instant and self.now is not None else instant

    def until(self, instant: str) -> str:
        """When something ends: the instant, and for people how far it is off, or `open-ended`."""
        if self.now is None:
            return instant
        return f"{when(instant)} ({self.remaining_time(instant)})" if instant else "open-ended"

    def remaining_time(self, instant: str) -> str:
        """How far off the end of something is: `in 36 d`."""
        if not instant or self.now is None:
            return instant or "open-ended"
        end = parse_instant(instant)
        return f"in {span(end - self.now)}" if end > self.now else "over"

    def account(self, uid: str) -> str:
        """An account, as commands take it: for people its name, if that is short; else its uid."""
        return self.names.get(uid, uid)

    def party(self, party: str, account: str) -> str:
        """`sg-…@<account>`, as commands take it; what is in no account, such as a range of addresses, as it is."""
        return f"{party}@{self.account(account)}" if account else party

    def title(self, party: str, account: str) -> str:
        """`app@<account>`, as commands take it; with the id where it has no name of its own."""
        return self.party(self.parties.get(Party(account, party), party), account)

    @property
    def by_ids(self) -> Wording:
        """The same, with the ids of groups and instances."""
        return msgspec.structs.replace(self, parties={})

    @property
    def called(self) -> dict[str, str]:
        """What a table of records calls accounts, by uid, and parties, by `sg-…@<uid>`."""
        return {**self.names, **{str(party): name for party, name in self.parties.items()}}

    def titles(self, answer: Ends | Explanation) -> tuple[str, str]:
        """The titles of the two ends."""
        return self.title(answer.source, answer.from_account), self.title(answer.target, answer.to_account)

    def worded(self, text: str) -> str:
        """A text with this wording of each `sg-…@<uid>`, `i-…@<uid>` and instant in it."""
        return _INSTANT.sub(
            lambda match: when(match[0]), _PARTY.sub(lambda match: self.title(match[1], match[2]), text)
        )

    def ends(self, answer: Ends | Explanation) -> tuple[str, str]:
        """The two ends: each party and its name."""
        source = self.party(answer.source, answer.from_account) + (f" ({answer.from_name})" if answer.from_name else "")
        target = self.party(answer.target, answer.to_account) + (f" ({answer.to_name})" if answer.to_name else "")
        return source, target


EXACT = Wording(None, {})
"""For programs."""


def wording(policy: Policy, now: float, scene: Scene | None = None) -> Wording:
    """The wording for people if stdout is a terminal, else for programs. Parties of the scene are called by their
    names."""
    if not sys.stdout.isatty():
        return EXACT
    return Wording(now, short_names(policy), own_names(policy, scene) if scene else {})


def scene_of(resources: Collection[Group | Instance]) -> Scene:
    """The scene of these alone, for their names."""
    groups = {resource.party: resource for resource in resources if isinstance(resource, Group)}
    instances = {resource.party: resource for resource in resources if isinstance(resource, Instance)}
    return Scene(Snapshot(groups=groups, instances=instances))


def own_names(policy: Policy, scene: Scene) -> dict[Party, str]:
    """The names that can be printed instead of ids: those that one party of the account has, and no other meaning."""
    resources: list[Group | Instance] = [*scene.snapshot.groups.values(), *scene.snapshot.instances.values()]
    count = Counter((resource.party.account, resource.name) for resource in resources)
    return {
        resource.party: resource.name
        for resource in resources
        if count[resource.party.account, resource.name] == 1
        and resource.name not in policy.names
        and _NAME.fullmatch(resource.name)
    }


def short_names(policy: Policy) -> dict[str, str]:
    """By uid, the names that can be printed instead of it: as an argument without quotes, with room for them, and of
    one account only."""
    names = Counter(account.name for account in policy.accounts.values())
    return {
        uid: account.name
        for uid, account in policy.accounts.items()
        if names[account.name] == 1 and _SHORT.fullmatch(account.name)
    }


STATES = {
    "open": "green",
    "blocked": "red",
    "partly": "yellow",
    "half-open": "yellow",
    "closing": "magenta",
    "unknown": "yellow",
}
"""The colour of each state of a link."""


def ends(link: LinkAnswer | Reacher, words: Wording) -> str:
    """When it ends: what is closing, at the next sweep, or at the next full one."""
    closes = link.state == "closing" and words.now is not None
    return sweep_of(link.state_detail) if closes else words.until(link.until)


def time_to_end(link: LinkAnswer | Reacher, words: Wording) -> str:
    """When it ends, in short."""
    return sweep_of(link.state_detail) if link.state == "closing" else words.remaining_time(link.until)


def last_used(link: LinkAnswer | Reacher, words: Wording) -> str:
    """When it was last used, or `unused` or `unknown`; empty where nothing is said of it."""
    return words.ago(link.last_used or "") or link.use or ""


LINKS: Table[LinkAnswer, Wording] = Table(
    LinkAnswer,
    EXACT,
    "No links.",
    (
        Column("from", lambda a, w: w.ends(a)[0], lambda a, w: w.titles(a)[0], short=by_name),
        Column("to", lambda a, w: w.ends(a)[1], lambda a, w: w.titles(a)[1], short=by_name),
        Column("ports", short=by_words),
        Column("state", colours=STATES),
        Column("since", lambda a, w: w.ago(a.since), dispensable=2),
        Column("until", ends, time_to_end),
        Column("claims", lambda a, _: claims_text(a.claims, a.deployment), short=by_words, dispensable=1),
        Column("asked by", wide=True),
        Column("consent", lambda a, _: "; ".join(a.consent) or "none covers it now", wide=True),
        Column("consented by", wide=True),
        Column("written", lambda a, _: a.written_detail or a.written, wide=True),
        Column("instances", lambda a, _: instances_text(a), wide=True),
        Column("detail", lambda a, _: a.state_detail, wide=True),
        Column("last used", last_used, wide=True),
        Column("narrow", lambda a, _: a.narrow or "", wide=True),
        Column("rules", wide=True),
        Column("link", wide=True),
    ),
)
"""Names first; ids, and all that explains a link, in `-o wide`."""
