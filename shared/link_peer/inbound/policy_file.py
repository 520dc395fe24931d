"""The policy file: the accounts, what consents besides tags, what is never opened, and the policy's tests.

Roles and external ids come from this file alone, so it is read strictly: a file that is not as `policy_types` says, or
that shows something else than it says (`yaml_reader`), is a PolicyError that gives file, line, column and what to do,
and the function does not start.

A package also carries its policy compiled, so that a cold start need not load a YAML parser. `link-peer package` makes
the compiled form from the text, and nothing else does. It is used only in a package, for the package's own policy, and
only with the digest of the text that it was made from. Elsewhere, one that lies beside the policy or in the library is
refused: in a checkout or a wheel, it would be a second policy that nobody reviews.
"""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

import msgspec

from link_peer.domain.errors import PolicyError
from link_peer.domain.policy import Policy

MAX_BYTES = 256 * 1024
NAME = "policy.yaml"
COMPILED = "policy.compiled.json"
LIBRARY = Path(__file__).parents[1]
"""The folder of this library: `link_peer/`, in a package beside the policy."""
HANDLER = "auto_link.py"
"""What stands beside the library in a package, and nowhere else."""


class _Compiled(msgspec.Struct, frozen=True):
    """A policy, and the digest of the text that it is."""

    digest: str
    policy: Policy


@functools.lru_cache(maxsize=4)  # what is deployed is mostly the file in use, and its compiled form is compared with it
def parse(text: str, name: str = NAME) -> Policy:
    """The policy in a text; `name` is the file's name in errors. Raises PolicyError."""
    from link_peer.inbound import policy_text  # here, because a packaged policy needs none of it

    if len(text.encode(errors="replace")) > MAX_BYTES:  # as many bytes are read of one that is deployed
        raise PolicyError(f"{name}:1:1: longer than {MAX_BYTES // 1024} KB: split the deployment")
    return policy_text.parse(text, name)


def load(path: str | Path) -> Policy:
    """The policy in a file. Raises PolicyError if it is not valid, OSError if it cannot be read."""
    path = Path(path)
    raw = path.read_bytes()
    if not (LIBRARY.parent / HANDLER).is_file():
        refuse_compiled(path)
    elif path.resolve() == (LIBRARY.parent / NAME).resolve():
        compiled = _compiled(path.with_name(COMPILED))
        if compiled is not None and compiled.digest == _digest(raw):
            return compiled.policy
    return from_bytes(raw, path.name)


def from_bytes(raw: bytes, name: str = NAME) -> Policy:
    """The policy in the bytes of a file, with their digest. Raises PolicyError."""
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        before = raw[: error.start].decode()
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        raise PolicyError(f"{name}:{line}:{column}: not UTF-8: save the file as UTF-8") from None
    return msgspec.structs.replace(parse(text, name), digest=_digest(raw)[:16])


def compiled_form(raw: bytes, name: str = NAME) -> bytes:
    """What `package` puts beside a policy file with these bytes. Raises PolicyError."""
    return msgspec.json.encode(_Compiled(_digest(raw), from_bytes(raw, name)))


def agree(raw: bytes, compiled: bytes) -> bool:
    """Whether a compiled form is that of a policy file with these bytes. Raises PolicyError if the file is not
    valid."""
    try:
        return msgspec.json.decode(compiled, type=_Compiled) == _Compiled(_digest(raw), from_bytes(raw))
    except msgspec.DecodeError:
        return False


def refuse_compiled(path: Path) -> None:
    """Raises PolicyError if a compiled form lies beside a policy file that is in no package, or in the library."""
    for folder in (path.parent, LIBRARY.parent, LIBRARY, LIBRARY / "inbound"):
        if (compiled := folder / COMPILED).exists():
            raise PolicyError(
                f"{compiled}: only a package has a compiled policy, made by `link-peer package`: delete it"
            )


def _compiled(path: Path) -> _Compiled | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Compiled)
    except (FileNotFoundError, msgspec.DecodeError):  # the text is read instead
        return None


def _digest(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()
