"""With which keys a command runs on an instance: never with a role of link-peer, none of which may do that."""

from __future__ import annotations

import os

import msgspec
from link_peer.alicloud.sts import Accounts
from link_peer.domain.errors import LinkPeerError, NoAccess
from link_peer.runtime.retry import Retry
from link_peer.runtime.settings import Credentials

from link_peer_cli.access.caller import caller
from link_peer_cli.access.environment import Environment
from link_peer_cli.access.keys import own_keys

RIGHTS = ("ecs:RunCommand", "ecs:DescribeInvocationResults")
SECONDS = 60.0  # how long STS may be in trouble


class Runner(msgspec.Struct, frozen=True):
    """Keys that belong to an account, or are a session of a role there, and their ARN."""

    account: str
    arn: str
    credentials: Credentials


def runner_in(env: Environment, account: str, profile: str, role: str) -> Runner:
    """The person's own keys, or those of `profile`, where they belong to the account; with `role`, what they get by assuming
    the role of that name in the account. Raises LinkPeerError that says what is needed."""
    keys = own_keys(os.environ, profile)() if profile else env.own()
    owner, arn = caller(env.settings, keys)
    if role:
        keys = _assumed(env, account, role, keys, arn)
        return Runner(account, f"acs:ram::{account}:role/{role}", keys)
    if owner != account:
        raise LinkPeerError(f"the keys of {arn} belong to account {owner}. {needed(account)}")
    return Runner(account, arn, keys)


def needed(account: str) -> str:
    """What a person must give to run a command in an account."""
    return (
        f"To run the test in account {account}, give --profile with keys of that account, or --role with a role there that "
        f"your keys may assume; either needs {' and '.join(RIGHTS)}, which no role of link-peer has"
    )


def _assumed(env: Environment, account: str, role: str, keys: Credentials, arn: str) -> Credentials:
    """A session of a role. The external id of the policy goes with it: a role whose trust asks for none ignores it."""
    settings = msgspec.structs.replace(env.settings, credentials=keys)
    retry = Retry(env.clock, env.clock.now() + SECONDS)
    accounts = Accounts(settings, env.policy, env.clock, retry, "verify")
    named = f"acs:ram::{account}:role/{role}"
    try:
        return accounts.assume(named, env.policy.accounts[account].external_id or "", waits=()).credentials
    except NoAccess as error:
        raise LinkPeerError(
            f"{named} could not be assumed by {arn} ({error.code}): sts:AssumeRole on it must be allowed to these keys, and "
            "the role must trust them"
        ) from None
