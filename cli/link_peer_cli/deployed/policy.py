"""The packages that the triggers invoke: the one source of which policy is deployed, and of which version of link-peer
runs."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath

import msgspec
from link_peer.alicloud.sdk import shared_tls
from link_peer.domain.errors import LinkPeerError, PolicyError
from link_peer.domain.policy import Policy
from link_peer.domain.tags import DEFAULT_TAG_PREFIX
from link_peer.inbound import policy_file
from link_peer.runtime.settings import Settings
from link_peer_deploy.names import VERSION_FILE, Names

from link_peer_cli.access.environment import Environment
from link_peer_cli.deployed.functions import DeployedFunctions, ServiceFunctions

SECONDS = 60.0  # until a download answers


_VERSION = re.compile(r"[0-9][0-9A-Za-z.+!-]{0,63}")


class ServiceUnreadable(LinkPeerError):
    """What a service of FC 2.0 has could not be read, where FC 3.0 has no function of the deployment."""


class RunningPackage(msgspec.Struct, frozen=True):
    """A package that some functions run: the policy that its text gives, and the version of link-peer that built it;
    empty where the package does not say."""

    functions: tuple[str, ...]
    policy: Policy
    version: str


def running_packages(settings: Settings, names: Names) -> list[RunningPackage]:
    """What the functions run, on FC 3.0 or else on FC 2.0: one package if all have the same; none if no function is
    deployed. Raises LinkPeerError for one that cannot be read (ServiceUnreadable on FC 2.0), PolicyError for one whose
    policy is not valid or whose compiled form is of another."""
    packages = list(_packages(DeployedFunctions(settings, names.home), names))
    if not packages:
        try:
            packages = list(_packages(ServiceFunctions(settings, names.home, names.prefix), names))
        except PolicyError:
            raise
        except LinkPeerError as error:
            raise ServiceUnreadable(f"{error} (on FC 2.0)") from error
    by_code: dict[str, RunningPackage] = {}
    for checksum, package in packages:
        before = by_code.get(checksum)
        functions = dict.fromkeys((*before.functions, *package.functions) if before else package.functions)
        by_code[checksum] = msgspec.structs.replace(package, functions=tuple(functions))
    return list(by_code.values())


def deployed_policies(settings: Settings, names: Names) -> list[Policy]:
    """The policies of the running packages: one if all have the same. Raises as `running_packages` does."""
    policies = [package.policy for package in running_packages(settings, names)]
    return [policy for number, policy in enumerate(policies) if policy not in policies[:number]]


def difference(env: Environment, policies: Sequence[Policy]) -> str:
    """How the policy file in use differs from the deployed policies; empty if they are the same, or nothing is
    deployed."""
    deployed = sorted({policy.digest for policy in policies})
    if deployed in ([], [env.policy.digest]):
        return ""
    return f"{env.settings.policy_path} is {env.policy.digest}, deployed is {' and '.join(deployed)}"


def other_policy(env: Environment) -> str:
    """Why a command that goes by the policy file in use may do what the functions would not, as a sentence; empty if
    the deployed policy is that file, or nothing is deployed."""
    try:
        differing = difference(env, deployed_policies(env.settings, env.names))
    except LinkPeerError as error:
        return f"whether the functions have the same policy is not known: {error}"
    return f"the functions have another policy: {differing}" if differing else ""


def _packages(client: DeployedFunctions | ServiceFunctions, names: Names) -> Iterator[tuple[str, RunningPackage]]:
    """Each function's package or packages, with their checksum."""
    read: dict[str, tuple[Policy, str]] = {}
    for function in names.functions.values():
        try:
            live = client.live(function)
            for version in (live.version, *live.weights) if live else ():
                checksum, url = client.code(function, version)
                if live and checksum not in read:
                    read[checksum] = _read(url, live.environment)
                yield checksum, RunningPackage((function,), *read[checksum])
        except PolicyError as error:
            raise PolicyError(f"the deployed policy of {function} cannot be trusted: {error}") from None
        except LinkPeerError as error:
            raise LinkPeerError(f"the deployed policy of {function} cannot be read: {error}") from error


def _read(url: str, variables: Mapping[str, str]) -> tuple[Policy, str]:
    import requests  # when it is asked, since help needs none

    path = PurePosixPath("/code", variables.get("LINK_PEER_POLICY") or policy_file.NAME)
    try:
        answer = shared_tls().session().get(url, timeout=SECONDS)
        answer.raise_for_status()
        with zipfile.ZipFile(io.BytesIO(answer.content)) as package:
            files = package.namelist()
            raw = _start(package, str(path.relative_to("/code")))
            compiled, version = None, ""
            if path == PurePosixPath("/code", policy_file.NAME) and policy_file.COMPILED in files:
                compiled = package.read(policy_file.COMPILED)
            if VERSION_FILE in files:
                version = _start(package, VERSION_FILE).decode(errors="replace").strip()
    except requests.RequestException as error:
        # without the address, which is a key
        raise LinkPeerError(f"the package cannot be downloaded: {type(error).__name__}") from None
    except (zipfile.BadZipFile, KeyError, ValueError, RuntimeError) as error:
        raise LinkPeerError(f"the package has no readable {path}: {error}") from None
    policy = policy_file.from_bytes(raw, path.name)
    if compiled is not None and not policy_file.agree(raw, compiled):
        raise PolicyError(f"{policy_file.COMPILED}, which the function acts on, is not what {path.name} gives")
    prefix = policy.tag_prefix or variables.get("LINK_PEER_TAG_PREFIX") or DEFAULT_TAG_PREFIX
    return msgspec.structs.replace(policy, tag_prefix=prefix), version if _VERSION.fullmatch(version) else ""


def _start(package: zipfile.ZipFile, name: str) -> bytes:
    """As much of a file as a policy may have."""
    with package.open(name) as file:
        return file.read(policy_file.MAX_BYTES + 1)
