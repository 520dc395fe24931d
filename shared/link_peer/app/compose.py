"""Puts a deployed function together: settings from the environment, the official SDKs, the machine's clock.

The only module of the library that imports `link_peer.alicloud`.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import os
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import msgspec

from link_peer.domain.errors import KeysExpired, PolicyError
from link_peer.domain.policy import Policy
from link_peer.inbound import policy_file
from link_peer.runtime import settings as settings_module
from link_peer.runtime.clock import Clock, SystemClock
from link_peer.runtime.delivery import (
    DEFAULT_SECONDS,
    LANES,
    READERS,
    Connections,
    Delivery,
    Memory,
    Throughput,
    within,
)
from link_peer.runtime.ports import AuditLog, Cloud
from link_peer.runtime.retry import Retry
from link_peer.runtime.settings import Settings

if TYPE_CHECKING:
    from link_peer.alicloud.own_queues import OwnQueues

clock_for_functions: Callable[[], Clock] = SystemClock
"""The one seam for time: tests that run whole handlers put their own clock here."""


end_process: Callable[[], object] = functools.partial(os._exit, 1)
"""How a process ends that has no valid keys any more. Tests put here what they can observe."""

_memory = Memory()
COLLECT_AFTER = 50_000  # objects; the default is 700


@functools.cache
def start() -> None:
    """Prepares this process for the SDKs, once: their unused parts may be missing, and the tens of thousands of objects
    that their import makes stay, so the garbage collector need not look at them again and again."""
    from link_peer.alicloud import leave_out

    leave_out.install()
    gc.set_threshold(max(COLLECT_AFTER, gc.get_threshold()[0]))  # a command has set more
    gc.freeze()
    gc.enable()  # in a package, it is off while our own modules are imported


@contextlib.contextmanager
def own_keys() -> Iterator[None]:
    """Ends this process where its own keys have expired.

    Keys are read at each invocation, from the context where the runtime puts them there. python3.12 puts them into the
    environment when an instance starts, and no page says that they are renewed. An instance that outlives them could do
    nothing, and would be given the same message again and again. Function Compute answers for a process that has ended
    with an error, so that the message is delivered again, and starts another, with new keys. If these are no better,
    that one ends too: the retries of asynchronous calls and of the stream have an end, and then a dead-letter queue.
    """
    try:
        yield
    except KeysExpired as error:
        print(f"the keys of this function instance have expired, so it ends: {error}", flush=True)
        sys.stderr.flush()
        end_process()
        raise


def open_delivery(
    function: str,
    context: Any,
    *,
    retry: Retry | None = None,
    wrap_log: Callable[[AuditLog], AuditLog] | None = None,
    settings: Settings | None = None,
    open_cloud: Callable[[Settings, Policy, Clock, str, Retry], Cloud] | None = None,
) -> Delivery:
    """The delivery of a function. `context` is Function Compute's, or None. A command passes retries (with a clock, and
    how long it may take), settings, a way into the accounts and a log of its own (`wrap_log` is given the SLS one)."""
    start()
    from link_peer.alicloud.audit_log import SlsAuditLog
    from link_peer.alicloud.mns import MnsQueue

    settings = settings or settings_module.load(context)
    policy = load_policy(settings.policy_path, settings.tag_prefix)
    if settings.account not in ("", policy.home):
        raise PolicyError(
            f"{settings.policy_path}: home is {policy.home}, but this function runs in {settings.account}: "
            "the account without a role must be the function's own"
        )
    for name in sorted(policy.bound_queues.keys() & settings.shared_queues):
        uid = policy.bound_queues[name]
        raise PolicyError(
            f"{settings.policy_path}: {name} is a queue of the deployment itself, so it cannot prove that {uid} asks: "
            f"give {uid} a queue of its own"
        )
    timeout = getattr(getattr(context, "function", None), "timeout", None)
    retry = retry or within(clock_for_functions(), float(timeout or DEFAULT_SECONDS))
    log: AuditLog = SlsAuditLog(settings, retry.clock)
    queue = MnsQueue(settings, policy.home)
    connections = Connections(
        functools.partial(open_cloud or _open_cloud, settings, policy, retry.clock),
        wrap_log(log) if wrap_log else log,
        queue,
        queue.dead_letters,
        functools.partial(load_policy, settings.policy_path, settings.tag_prefix),
        settings.sweep_queue,
    )
    throughput = Throughput(READERS, LANES, settings.calls_per_minute)
    return Delivery(function, settings.region, policy, retry, connections, throughput, _memory)


def open_own_queues(delivery: Delivery, context: Any) -> OwnQueues:
    """The accounts' own queues in home, with the keys of this invocation."""
    from link_peer.alicloud.own_queues import OwnQueues

    return OwnQueues(settings_module.load(context), delivery.policy.home)


def _open_cloud(settings: Settings, policy: Policy, clock: Clock, name: str, retry: Retry) -> Cloud:
    from link_peer.alicloud.sts import Accounts

    return Accounts(settings, policy, clock, retry, name)


def load_policy(path: str, tag_prefix: str) -> Policy:
    """The policy file, read again only when it changed, for tags whose keys begin with the setting `tag_prefix`. Raises
    PolicyError, also where the file says another one, or OSError if it cannot be read: the function does not start."""
    stamp = os.stat(path)
    return _policy(path, tag_prefix, stamp.st_mtime_ns, stamp.st_size)


@functools.lru_cache(maxsize=4)
def _policy(path: str, tag_prefix: str, _mtime: int, _size: int) -> Policy:
    policy = policy_file.load(path)
    if policy.tag_prefix not in ("", tag_prefix):
        raise PolicyError(
            f"{path}: tag_prefix is {policy.tag_prefix}, but LINK_PEER_TAG_PREFIX is {tag_prefix} (link if it is not "
            "set): they must be the same"
        )
    return msgspec.structs.replace(policy, tag_prefix=tag_prefix)
