"""The policy that is deployed: that of the package which the triggers of each function invoke."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import PurePosixPath

import msgspec
from link_peer.alicloud.sdk import shared_tls
from link_peer.domain.errors import LinkPeerError, PolicyError
from link_peer.domain.policy import Policy
from link_peer.domain.tags import DEFAULT_TAG_PREFIX
from link_peer.inbound import policy_file
from link_peer.runtime.settings import Settings
from link_peer_deploy.names import Names

from link_peer_cli.deployed.functions import DeployedFunctions

SECONDS = 60.0  # until a download answers


def deployed_policies(settings: Settings, names: Names) -> list[Policy]:
    """What the functions run: one policy if all have the same package; none if no function is deployed. Raises LinkPeerError
    for one that cannot be read, PolicyError for one that is not valid or whose compiled form is of another."""
    client, found = DeployedFunctions(settings, names.home), dict[str, Policy]()
    for function in names.functions.values():
        try:
            live = client.live(function)
            for version in (live.version, *live.weights) if live else ():
                checksum, url = client.code(function, version)
                if live and checksum not in found:
                    found[checksum] = _policy(url, live.environment)
        except PolicyError as error:
            raise PolicyError(f"the deployed policy of {function} cannot be trusted: {error}") from None
        except LinkPeerError as error:
            raise LinkPeerError(f"the deployed policy of {function} cannot be read: {error}") from error
    policies = list(found.values())
    return [one for number, one in enumerate(policies) if one not in policies[:number]]


def _policy(url: str, variables: Mapping[str, str]) -> Policy:
    import requests  # when it is asked, since help needs none

    path = PurePosixPath("/code", variables.get("LINK_PEER_POLICY") or policy_file.NAME)
    try:
        answer = shared_tls().session().get(url, timeout=SECONDS)
        answer.raise_for_status()
        with (
            zipfile.ZipFile(io.BytesIO(answer.content)) as package,
            package.open(str(path.relative_to("/code"))) as file,
        ):
            raw = file.read(policy_file.MAX_BYTES + 1)
            text, compiled = raw.decode(), None
            if path == PurePosixPath("/code", policy_file.NAME) and policy_file.COMPILED in package.namelist():
                compiled = package.read(policy_file.COMPILED)
    except requests.RequestException as error:
        # without the address, which is a key
        raise LinkPeerError(f"the package cannot be downloaded: {type(error).__name__}") from None
    except (zipfile.BadZipFile, KeyError, ValueError, RuntimeError) as error:
        raise LinkPeerError(f"the package has no readable {path}: {error}") from None
    policy = policy_file.parse(text, path.name)
    if compiled is not None and not policy_file.agree(raw, compiled):
        raise PolicyError(f"{policy_file.COMPILED}, which the function acts on, is not what {path.name} gives")
    prefix = policy.tag_prefix or variables.get("LINK_PEER_TAG_PREFIX") or DEFAULT_TAG_PREFIX
    return msgspec.structs.replace(policy, tag_prefix=prefix)
