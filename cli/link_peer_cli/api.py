"""link-peer for programs: makes, checks and posts requests, and answers what the commands `links`, `explain` and `plan`
answer.

    from link_peer_cli import api

    asked = api.request("link", "sg-app@1000000000000001", "sg-db@1000000000000002", region="cn-qingdao", ports=["tcp/3306"])
    here = api.Deployment()
    if (denial := here.check(asked)) is None:
        here.post(asked)

Where the deployment is, its policy file and the keys come from the environment, as for the commands. The answers are
those of `--json`: docs/schemas says what each field means. Every error is a LinkPeerError; a wrong argument is a
BadInput, which names the field. What is not in `__all__` may change at any time.
"""  # noqa: W505

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Literal

import msgspec
from link_peer.app import compose
from link_peer.domain.denials import Denial, LinkDenied
from link_peer.domain.errors import BadInput, LinkPeerError
from link_peer.domain.model import Link, Party
from link_peer.domain.policy import Policy
from link_peer.domain.request import Request
from link_peer.domain.tags import unique_ports
from link_peer.inbound.requests import decode, encode
from link_peer.planning.authority import policy_denial

from link_peer_cli.access.environment import Environment, load_environment, policy_file
from link_peer_cli.access.inputs import duration, ending, party, ports_of
from link_peer_cli.answers.changes import PlanAnswer
from link_peer_cli.answers.links import Advice, Explanation, LinkAnswer, RuleAnswer
from link_peer_cli.commands.explain import answer_for
from link_peer_cli.deployed import queue
from link_peer_cli.inventory.reading import view_of
from link_peer_cli.inventory.shown import answers_of, links_about, links_of
from link_peer_cli.review.delivery import suppose
from link_peer_cli.review.input import Input, PlannedLook
from link_peer_cli.review.planned import planned

__all__ = [
    "Advice",
    "BadInput",
    "Denial",
    "Deployment",
    "Explanation",
    "LinkAnswer",
    "LinkPeerError",
    "Links",
    "PlanAnswer",
    "Policy",
    "Request",
    "RuleAnswer",
    "check",
    "message",
    "policy",
    "request",
]


class Links(msgspec.Struct, frozen=True):
    """The links that stand. `not_read` says which accounts could not be read, and what else is missing: with any, there
    may be more links."""

    links: list[LinkAnswer]
    not_read: list[str]


def request(
    action: Literal["link", "unlink", "sync"],
    source: str,
    target: str,
    *,
    region: str,
    ports: Iterable[str] = (),
    until: str | datetime = "",
    expires_in: str = "1h",
    request_id: str = "",
    reason: str = "",
    requested_by: str = "",
) -> Request:
    """A request, checked as `cross_account` will check it.

    `source` needs access to `target`: each `sg-…@<uid>` or `i-…@<uid>`. Without `ports` (`tcp/3306`, `tcp/8000-8010`,
    `udp/53`, `icmp`) a link is mutual. `until` is when the link ends: RFC 3339, a datetime with a zone, or a duration
    (`30d`). The request itself is valid for `expires_in`, at most `24h`. Without a `request_id`, it gets a random one.
    Raises BadInput.
    """
    now = compose.clock_for_functions().now()
    if isinstance(until, datetime):
        until = until.isoformat()
    message = Request(
        request_id or f"api-{secrets.token_hex(4)}",
        action,
        region,
        Link(_party(source, "source"), _party(target, "target"), unique_ports(ports_of(ports, "ports"))),
        now + duration(expires_in, "expires_in"),
        ending(until, "until", now) if until else None,
        reason=reason,
        requested_by=requested_by,
    )
    decode(encode(message), region=region, now=now)
    return message


def message(request: Request) -> bytes:
    """The request as the body of a message on the queue, for a program that posts it with an SDK of its own."""
    return encode(request)


def policy(path: str) -> Policy:
    """The policy in a file. Raises LinkPeerError that gives the line at fault, and BadInput if the file cannot be
    read."""
    return policy_file(path, "path")


def check(wish: Request, policy: Policy) -> Denial | None:
    """Why a policy alone denies a request, whatever the cloud shows; None where the functions must decide.

    It is judged as one of the queue of the account that asks, where the policy gives it one, else of the shared queue.
    """
    now = compose.clock_for_functions().now()
    try:
        decode(encode(wish), region=wish.region, now=now, names=policy.names)
    except LinkDenied as denied:
        return denied.denial
    return policy_denial(policy, wish, _queue(policy, wish), now)


class Deployment:
    """The deployment that the environment names: LINK_PEER_POLICY or policy.yaml, LINK_PEER_REGION, and the keys, as
    for the commands. It reads with the role for reading; only `post` changes anything. Raises LinkPeerError that names
    all that is missing."""

    def __init__(self) -> None:
        self._env = load_environment(reading=True)

    @property
    def policy(self) -> Policy:
        """The policy file that is in use."""
        return self._env.policy

    def check(self, wish: Request) -> Denial | None:
        """Why the policy alone denies a request; None where the functions must decide."""
        return check(wish, self._env.policy)

    def post(self, wish: Request) -> None:
        """Put a request on the queue of the account that asks, or on the shared one. Raises LinkPeerError; a Transient
        one leaves open whether the queue has it: the same request may be posted again."""
        name = _queue(self.policy, wish) or self._env.settings.queue
        home = load_environment(reading=False)
        queue.post(home.asking(name), self.policy.home, wish, name)

    def plan(self, *questions: Request | str) -> PlanAnswer:
        """What the functions would do now with requests, or with instances of the home account (`i-…`), in this order:
        instances first. Changes nothing."""
        # read as leniently as the functions read a message, which deny what no JSON may contain
        requests = tuple(json.loads(encode(question)) for question in questions if isinstance(question, Request))
        looks = tuple(
            PlannedLook(self._party(question, "what").id, "tags") for question in questions if isinstance(question, str)
        )
        return planned(self._present(), Input(looks, requests)).answer()

    def links(self, *, of: str = "", ports: Sequence[str] = ()) -> Links:
        """The links that stand, with their state, end, claims and consent; of one group or instance, or that open one
        of these ports."""
        env = self._present()
        view = view_of(suppose(env, "links")[0])
        view.read_all()
        links, problem = answers_of(
            env, view, links_about(env, view, links_of(env, view), of, "of", ports_of(ports, "ports"))
        )
        return Links(links, [*view.problems, *filter(None, [problem])])

    def explain(self, source: str, target: str, *ports: str) -> Explanation:
        """Whether packets of one party reach another, what decides, and what to do; by default on the ports that their
        links open."""
        env = self._present()
        view = view_of(suppose(env, "explain")[0])
        ends = view.find(source, "source"), view.find(target, "target")
        return answer_for(env, view, ends, tuple(ports_of(ports, "ports")))[0]

    def _present(self) -> Environment:
        """The environment as of now: to a program, each question is what a command is to a person."""
        return msgspec.structs.replace(self._env, now=self._env.clock.now())

    def _party(self, text: str, field: str) -> Party:
        return party(text, field, self.policy.home)


def _queue(policy: Policy, wish: Request) -> str:
    """The queue of the account that asks; empty if it has none of its own."""
    asker = policy.accounts.get(wish.link.source.account)
    return asker.queue if asker else ""


def _party(text: str, field: str) -> Party:
    if "@" not in text:
        raise BadInput(field, f"{text!a} has no account: give sg-…@<uid> or i-…@<uid>")
    return party(text, field, "")
