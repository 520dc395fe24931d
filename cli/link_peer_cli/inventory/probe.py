"""Sends a packet from inside an instance, through Cloud Assistant; never with a role of link-peer, none of which may do
that."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import TypeVar

import msgspec
from link_peer.alicloud.sts import Accounts
from link_peer.domain.errors import BadInput, LinkPeerError, NoAccess
from link_peer.domain.model import Party, Port
from link_peer.runtime.retry import Retry
from link_peer.runtime.settings import Credentials

from link_peer_cli.access.ecs import PersonalEcs
from link_peer_cli.access.environment import Environment
from link_peer_cli.access.identity import AccountKeys
from link_peer_cli.access.keys import profile_keys

RIGHTS = ("ecs:RunCommand", "ecs:DescribeInvocationResults")
SECONDS = 60.0  # how long STS may be in trouble


class Runner(msgspec.Struct, frozen=True):
    """Keys that belong to an account, or are a session of a role there, and their ARN."""

    arn: str
    credentials: Credentials


def runner_in(env: Environment, account: str, profile: str, role: str) -> Runner:
    """The person's own keys, or those of `profile`, where they belong to the account; with `role`, what they get by
    assuming the role of that name in the account. Raises LinkPeerError that says what is needed."""
    keys = profile_keys(env.settings, profile) if profile else env.person_keys
    if role:
        return Runner(f"acs:ram::{account}:role/{role}", _assumed(env, account, role, keys))
    if keys.account != account:
        raise LinkPeerError(f"the keys of {keys.arn} belong to account {keys.account}. {needed(account)}")
    return Runner(keys.arn, keys())


def needed(account: str) -> str:
    """What a person must give to run a command in an account."""
    return (
        f"To run the test in account {account}, give --profile with keys of that account, or --role with a role there that "
        f"your keys may assume; either needs {' and '.join(RIGHTS)}, which no role of link-peer has"
    )


def _assumed(env: Environment, account: str, role: str, keys: AccountKeys) -> Credentials:
    """A session of a role. The external id of the policy goes with it: a role whose trust asks for none ignores it."""
    settings = msgspec.structs.replace(env.settings, credentials=keys())
    retry = Retry(env.clock, env.clock.now() + SECONDS)
    accounts = Accounts(settings, env.policy, env.clock, retry, "verify")
    role_arn = f"acs:ram::{account}:role/{role}"
    try:
        return accounts.assume(role_arn, env.policy.accounts[account].external_id or "", waits=()).credentials
    except NoAccess as error:
        raise LinkPeerError(
            f"{role_arn} could not be assumed by {keys.arn} ({error.code}): sts:AssumeRole on it must be allowed to these keys, and "
            "the role must trust them"
        ) from None


T = TypeVar("T")

TIMEOUT_SECONDS = 3  # of one ping or one TCP connection
FAILED = 1  # the exit code of ping without a reply, and of every nc for any failure

_AGENT = "start Cloud Assistant Agent on it, or install it: aliyun ecs InstallCloudAssistant --RegionId {region} --InstanceId.1 {id}"
_REMEDIES = {
    "InstanceNotRunning": "start it",
    "ClientNotRunning": _AGENT,
    "ClientNotResponse": _AGENT,
    "ClientNeedUpgrade": _AGENT,
    "SecurityGroupRuleDenied": "its security groups must let it reach Cloud Assistant: tcp/443 to 100.100.0.0/16",
}
"""What to do about an ErrorCode [doc DescribeInvocationResults]."""


class ProbeResult(str, Enum):
    """What became of one packet. `refused`: it arrived, and was answered with a refusal."""

    ANSWERED = "answered"
    REFUSED = "refused"
    UNREACHABLE = "unreachable"
    NO_ANSWER = "no answer"
    NOT_TESTED = "not tested"

    @property
    def reached(self) -> bool | None:
        """Whether the packet arrived; None if that was not tested."""
        if self is ProbeResult.NOT_TESTED:
            return None
        return self in (ProbeResult.ANSWERED, ProbeResult.REFUSED)


def command_of(port: Port) -> str:
    """A shell command that exits with 0 if `{}` can be reached. UDP sends no reply that could be checked."""
    if port.protocol == "icmp":
        return f"ping -c 1 -W {TIMEOUT_SECONDS} {{}}"
    if port.protocol == "tcp" and port.low == port.high:
        return f"nc -z -v -w {TIMEOUT_SECONDS} {{}} {port.low}"
    raise BadInput("--port", f"{port}: only icmp and single TCP ports can be tested")


def result_of(port: Port, code: int, output: str) -> ProbeResult:
    """What the exit code and the output of `ping` or `nc` mean. Every nc ends with 1 for any failure; the text tells
    more."""
    if code == 0:
        return ProbeResult.ANSWERED
    text = output.lower()
    if code != FAILED:  # 2 is a usage error, 127 the shell's for a command that is not installed
        return ProbeResult.NOT_TESTED
    if port.protocol == "tcp" and "refused" in text:
        return ProbeResult.REFUSED
    return ProbeResult.UNREACHABLE if "unreachable" in text or "no route" in text else ProbeResult.NO_ANSWER


class Probe:
    """Tests from one instance. Raises LinkPeerError that says what to do where no test can be made."""

    def __init__(self, env: Environment, runner: Runner, source: Party) -> None:
        self._runner = runner
        self._source = source
        self._region = env.settings.region
        self._ecs = PersonalEcs(env.settings, runner.credentials, env.clock)

    def test(self, address: str, port: Port) -> tuple[ProbeResult, str]:
        """What became of one packet, and the command's output."""
        command = command_of(port).format(address)
        invoke_id = self._allowed(RIGHTS[0], lambda: self._ecs.start(self._source.id, command))
        ran = self._allowed(RIGHTS[1], lambda: self._ecs.result(invoke_id))
        if ran.code is None:
            remedy = _REMEDIES.get(ran.error, _AGENT).format(region=self._region, id=self._source.id)
            reason = f"{ran.error}: {ran.info}" if ran.error else ran.info
            raise LinkPeerError(f"{self._source}: Cloud Assistant did not run the test ({reason}): {remedy}")
        return result_of(port, ran.code, ran.output), ran.output

    def _allowed(self, action: str, send: Callable[[], T]) -> T:
        try:
            return send()
        except NoAccess as error:
            account = self._source.account
            refusal = (
                f"in account {account}, {action} on {self._source.id} was refused to {self._runner.arn} ({error.code})"
            )
            raise LinkPeerError(f"{refusal}. {needed(account)}") from None
