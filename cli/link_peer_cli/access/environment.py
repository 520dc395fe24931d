"""What a command works with: the settings, policy, keys and clock that the environment gives."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import socket
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

import msgspec
from link_peer.alicloud.audit_log import SlsAuditLog
from link_peer.app import compose
from link_peer.domain.errors import BadInput, LinkPeerError
from link_peer.domain.policy import Policy
from link_peer.runtime import settings as settings_module
from link_peer.runtime.clock import Clock
from link_peer.runtime.retry import Retry
from link_peer.runtime.settings import Credentials, Settings
from link_peer_deploy.names import DEFAULT_PREFIX, Names
from link_peer_deploy.runtime_python import DEFAULT_RUNTIME, runtime_in_use

from link_peer_cli.access import forms, identity, instant, keys
from link_peer_cli.access.identity import NO_KEYS, NOBODY, AccountKeys, identified
from link_peer_cli.access.roles import PATIENCE_SECONDS, PersonsAccounts, acting
from link_peer_cli.ui import looked, remedies
from link_peer_cli.ui.changes import CHANGES, STOPPED
from link_peer_cli.ui.console import console, warn

T = TypeVar("T")

TIMEOUT = 5.0  # seconds


def not_listening(env: Mapping[str, str]) -> str:
    """Which setting points to this machine, where nothing listens, and what to do; empty if there is none. A local
    cloud has ended, and its variables are still exported: every call would be repeated for a while first."""
    for name in forms.ENDPOINTS:
        endpoint = env.get(name, "")
        url = urlsplit(endpoint if "://" in endpoint else f"https://{endpoint}")
        host, port = url.hostname or "", url.port or (80 if url.scheme == "http" else 443)
        if not _is_here(host):
            continue
        try:
            socket.create_connection((host, port), TIMEOUT).close()
        except OSError:
            return (
                f"{name} points to {endpoint}, where nothing listens: unset it and the other variables that `link-peer local` "
                "printed, or open a new terminal, or start a local cloud there"
            )
    return ""


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return f".{host}".endswith(".localhost")


SECONDS = 3600  # time limit of a run; a command may take longer than a function
# seconds: until the next minute, when a throttled API takes calls again; nothing waits behind a command
LONGEST_WAIT = 70.0
LONG_WAIT_SECONDS = 3.0  # a longer silence looks like a command that hangs
DEFAULT_POLICY = "policy.yaml"
"""The policy file of a command, in the current folder, if LINK_PEER_POLICY names no other."""


class Environment(msgspec.Struct, frozen=True):
    """The policy and settings that the functions would load, with a person's keys."""

    settings: Settings
    policy: Policy
    clock: Clock  # for what waits
    now: float  # when the command started, in epoch seconds: it decides everything by this instant
    names: Names
    # what the command acts with: in the home account, unless it may be given those of another; `settings.credentials`
    # are the same, as it starts
    keys: AccountKeys
    person_keys: AccountKeys  # the person's own keys
    reading: bool  # the command changes nothing

    @property
    def recording(self) -> Settings:
        """The settings with which a command writes records: into the operators' logstore, never that of the
        functions."""
        return msgspec.structs.replace(self.settings, audit_logstore=self.settings.operator_logstore)

    def log(self) -> SlsAuditLog:
        """Where a command writes its records."""
        return SlsAuditLog(self.recording, self.clock)

    def patient_retry(self) -> Retry:
        """Retries that wait until a throttled API takes calls again, for as long as a command may run from now on."""
        return Retry(self.clock, self.clock.now() + SECONDS, LONGEST_WAIT)

    def asking(self, queue: str) -> Settings:
        """The settings to post to a queue with. On one that proves which account asks, no role of link-peer may ask:
        the person's own keys do."""
        proves = queue in self.policy.bound_queues
        return msgspec.structs.replace(self.settings, credentials=self.person_keys()) if proves else self.settings

    def accounts(
        self, name: str, retry: Retry, person_keys: Mapping[str, AccountKeys] | None = None
    ) -> PersonsAccounts:
        """The accounts of the policy. Sessions of roles get this `name`; `person_keys` are the person's keys of
        accounts, by uid."""
        parts = (self.settings, self.policy, self.clock, retry, name, self.keys)
        return PersonsAccounts(*parts, reading=self.reading, person_keys=person_keys)


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
            console(stderr=True).print(
                f"[dim]the API throttles calls, or does not answer: retrying in {seconds:.0f} seconds[/dim]"
            )
        if threading.current_thread() is threading.main_thread():  # which a signal interrupts
            self._clock.sleep(seconds)
            return
        while seconds > 0:
            if STOPPED.is_set():
                raise KeyboardInterrupt
            self._clock.sleep(min(seconds, 1.0))
            seconds -= 1.0


def load_environment(*, reading: bool, anywhere: bool = False) -> Environment:
    """Load the settings, the policy file and the keys, and take on the role for what the command does:
    `<prefix>-reader` if it only reads, else `<prefix>-operator`. `anywhere`: with the person's own keys, it may do
    without home.

    Raises LinkPeerError that names everything that is missing; OtherAccount where the keys are not those of home, or
    with `anywhere` of no account of the policy.
    """
    env = load_own()
    role = env.names.reader_role if reading else env.names.operator_role
    keys_in_use = acting(env.person_keys, env.settings, env.policy, env.clock, role)
    (identity.require_listed if anywhere else identity.require_home)(keys_in_use, env.policy)
    if keys_in_use.account == env.policy.home:
        CHANGES.note(keys_in_use.refusal)
    settings = msgspec.structs.replace(env.settings, credentials=keys_in_use())
    return msgspec.structs.replace(env, settings=settings, keys=keys_in_use, reading=reading)


def load_own(*, without_keys: bool = False) -> Environment:
    """Load the settings, the policy file and the keys, with which the command acts itself.

    If `without_keys`, missing keys are no error: `settings.credentials` are then empty. Raises LinkPeerError that names
    everything that is missing.
    """
    settings, policy, key_provider = settings_in_use(without_keys=without_keys)
    names = names_in_use(policy.home)
    looked.FACTS["home"] = policy.home
    looked.note_accounts({uid: account.name for uid, account in policy.accounts.items()})
    settings = msgspec.structs.replace(
        settings,
        queue=settings.queue or names.queue,
        audit_project=settings.audit_project or names.audit_project(settings.region),
        audit_logstore=settings.audit_logstore or names.audit_logstore,
        operator_logstore=settings.operator_logstore or names.operator_logstore,
    )
    clock = NoticeClock(compose.clock_for_functions())
    try:
        own_keys = _identified(settings, key_provider, clock)
    except LinkPeerError as error:
        if not without_keys:
            raise
        warn([str(error)])
        own_keys, settings = NOBODY, msgspec.structs.replace(settings, credentials=NO_KEYS)
    return Environment(settings, policy, clock, instant.now(), names, own_keys, own_keys, reading=False)


def _identified(settings: Settings, key_provider: Callable[[], Credentials], clock: Clock) -> AccountKeys:
    """The person's own keys, with their account. Raises LinkPeerError where STS does not say it."""
    if settings.credentials == NO_KEYS:
        return NOBODY
    return Retry(clock, clock.now() + PATIENCE_SECONDS)(lambda: identified(settings, key_provider))


def policy_in_use() -> Policy | None:
    """The policy file of the commands; None if there is none that can be read. Raises PolicyError that gives the line
    at fault."""
    with contextlib.suppress(OSError):
        return _policy(os.environ.get("LINK_PEER_POLICY") or DEFAULT_POLICY)
    return None


def settings_in_use(*, without_keys: bool = False) -> tuple[Settings, Policy, Callable[[], Credentials]]:
    """The settings, with the person's own keys; the policy; and what gives the keys. Raises as `load_own` does."""
    return _in_use(_policy, without_keys=without_keys)


def bare_environment() -> tuple[Settings, Clock]:
    """The settings with the person's own keys, whose account is not asked, and the clock, for a command that needs no
    policy file.

    Raises LinkPeerError that names everything missing.
    """
    settings, _, _ = _in_use(lambda _path: None)
    return settings, NoticeClock(compose.clock_for_functions())


def _in_use(load: Callable[[str], T], *, without_keys: bool = False) -> tuple[Settings, T, Callable[[], Credentials]]:
    """The settings, what is loaded of the policy file, and what gives the keys."""
    compose.start()
    env = dict(os.environ)
    env["LINK_PEER_REGION"] = looked.FACTS["region"] = valid_region(env)
    missing = [text] if (text := not_listening(env)) else []
    if not env["LINK_PEER_REGION"]:
        missing.append(remedies.ours("no-region"))
    path = env["LINK_PEER_POLICY"] = env.get("LINK_PEER_POLICY") or DEFAULT_POLICY
    try:
        policy = load(path)
    except OSError as error:
        missing.append(remedies.ours("no-policy", policy=f"{path} cannot be read ({error.strerror})"))
    key_provider: Callable[[], Credentials] = lambda: NO_KEYS  # noqa: E731
    try:
        key_provider = keys.own_keys(env, keys.CHOSEN["profile"])
    except LinkPeerError as error:
        if not without_keys:
            missing.append(str(error))
    if missing:
        raise LinkPeerError("\n".join(missing))
    mine = key_provider()
    env["ALIBABA_CLOUD_ACCESS_KEY_ID"], env["ALIBABA_CLOUD_ACCESS_KEY_SECRET"] = "-", "-"  # those of `mine` are put in
    return msgspec.structs.replace(settings_module.load(env=env), credentials=mine), policy, key_provider


def valid_region(env: Mapping[str, str]) -> str:
    """The region that a command works in, as `keys.region_in_use` has it, once every setting has its form. Raises
    BadInput that names all that have not."""
    problems, region = list(forms.wrong(env)), ""
    try:
        region = keys.region_in_use(env)
    except BadInput as error:
        problems.insert(0, error)
    if problems:
        raise BadInput(problems[0].field, "\n".join([problems[0].problem, *map(str, problems[1:])]))
    return region


def names_in_use(home: str, prefix: str = "") -> Names:
    """The names of a deployment: of `prefix`, else of LINK_PEER_PREFIX. Raises BadInput for what no name could begin
    with."""
    try:
        return Names(home, prefix or os.environ.get("LINK_PEER_PREFIX") or DEFAULT_PREFIX)
    except ValueError as error:
        raise BadInput("LINK_PEER_PREFIX", str(error)) from None


def exported(region: str, prefix: str, tag_prefix: str) -> str:
    """What `export` needs in a new terminal, so that commands and s.yaml are about the same deployment."""
    values = {"REGION": region, "PREFIX": prefix, "TAG_PREFIX": tag_prefix}
    if (runtime := runtime_in_use()) != DEFAULT_RUNTIME:
        values["RUNTIME"] = runtime
    return " ".join(f"LINK_PEER_{name}={value}" for name, value in values.items())


def policy_path(option: str = "") -> Path:
    """The policy file of a command that needs nothing else: `option`, else what LINK_PEER_POLICY names, else
    policy.yaml here.

    Raises LinkPeerError if there is none, BadInput for one that `option` names."""
    path = Path(option or os.environ.get("LINK_PEER_POLICY") or DEFAULT_POLICY)
    if not path.is_file():
        if option:
            raise BadInput("--policy", f"there is no policy file {path}")
        alternatives = "--policy or LINK_PEER_POLICY, or make one with `link-peer init`"
        raise LinkPeerError(f"there is no policy file {path}: name one with {alternatives}")
    return path


def policy_file(path: str, field: str) -> Policy:
    """The policy in a file that a person names. Raises PolicyError that gives the line at fault; BadInput for `field`
    if it cannot be read."""
    require_file(path, field)
    try:
        return _policy(path)
    except OSError as error:
        raise BadInput(field, f"{path} cannot be read ({error.strerror})") from None


def require_file(path: str, field: str) -> None:
    """Raise BadInput for `field` unless there is a file of this name."""
    try:
        os.stat(path)
    except ValueError:  # NUL, or a character that no file name can be encoded with
        raise BadInput(field, f"{path!a} is not a file name") from None
    except OSError as error:
        raise BadInput(field, f"{path} cannot be read ({error.strerror})") from None


def _policy(path: str) -> Policy:
    return compose.load_policy(path, settings_module.tag_prefix(os.environ))


def require_known(env: Environment, accounts: Iterable[str], field: str) -> None:
    """Raise BadInput for `field` unless the policy lists every one of these accounts."""
    for uid in accounts:
        if uid not in env.policy.accounts:
            raise BadInput(field, f"account {uid} is not in the policy")
