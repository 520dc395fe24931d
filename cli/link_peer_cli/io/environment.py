"""What a command works with: the settings, policy and clock that the environment gives."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from link_peer.domain.errors import BadInput, LinkPeerError
from link_peer.domain.policy import Policy
from link_peer.runtime import compose
from link_peer.runtime import settings as settings_module
from link_peer.runtime.clock import Clock
from link_peer.runtime.settings import Settings

from link_peer_cli.io.console import console

LONG_WAIT_SECONDS = 3.0  # a longer silence looks like a command that hangs


class Environment(msgspec.Struct, frozen=True):
    """The same settings and policy that the functions would load in this environment."""

    settings: Settings
    policy: Policy
    clock: Clock


class NoticeClock:
    """A clock that prints a notice before a long wait. A throttled call waits for the next minute."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def now(self) -> float:
        """Epoch seconds."""
        return self._clock.now()

    def sleep(self, seconds: float) -> None:
        """Wait, with a notice on stderr if it takes long."""
        if seconds >= LONG_WAIT_SECONDS:
            console(stderr=True).print(f"[dim]the API is throttling calls: retrying in {seconds:.0f} seconds[/dim]")
        self._clock.sleep(seconds)


def load_environment() -> Environment:
    """Load the settings from the environment variables and the policy file that they name.

    Raises LinkPeerError if either is missing or invalid.
    """
    settings = settings_module.load()
    try:
        policy = compose.load_policy(settings.policy_path)
    except OSError as error:
        raise LinkPeerError(f"the policy file cannot be read: {error}") from None
    return Environment(settings, policy, NoticeClock(compose.clock_for_functions()))


def require_known(env: Environment, accounts: Iterable[str], field: str) -> None:
    """Raise BadInput for `field` unless the policy lists every one of these accounts."""
    for uid in accounts:
        if uid not in env.policy.accounts:
            raise BadInput(field, f"account {uid} is not in the policy")
