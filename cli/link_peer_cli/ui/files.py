"""Files that commands write: each is the old one or the new one, never half of it."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from link_peer.domain.errors import LinkPeerError

from link_peer_cli.ui.changes import CHANGES


def write(path: str, content: bytes, mode: int | None = None) -> None:
    """Write a file in one step, as `replacing`."""
    with replacing(path, content, mode) as put:
        put()


def require_writable(path: str) -> None:
    """Raise LinkPeerError unless a file can be written, before the work of which it is the result."""
    with replacing(path, b""):
        pass


@contextlib.contextmanager
def replacing(path: str, content: bytes, mode: int | None = None) -> Iterator[Callable[[], None]]:
    """Write the new content of a file beside it, and yield what puts it in the file's place.

    If that is not called, the file stays as it was: what must not be done unless the file can be written is done in
    between. A file that exists keeps its owner, and its mode unless one is given. The target of a symbolic link is
    replaced, not the link; a device or a pipe is written to. Raises LinkPeerError that names the file.
    """
    real = os.path.realpath(path)
    CHANGES.expect([f"write {path}"])
    with _naming_errors(path):
        beside = _beside(real, content, mode)

    def put() -> None:
        with _naming_errors(path), CHANGES.making(f"write {path}"):
            if beside:
                os.replace(beside, real)
            else:
                Path(real).write_bytes(content)

    try:
        yield put
    finally:
        with contextlib.suppress(OSError):  # it is in place
            os.unlink(beside)


def _beside(path: str, content: bytes, mode: int | None) -> str:
    """The content on disk, in a file of the same folder; empty if the path is neither a file nor free."""
    status = os.stat(path) if os.path.exists(path) else None
    if status and not stat.S_ISREG(status.st_mode):
        return ""
    if status and not (status.st_mode & 0o222 and os.access(path, os.W_OK)):  # a rename would replace it all the same
        raise LinkPeerError(f"{path} cannot be written: it is read-only")
    name = os.path.join(os.path.dirname(path), f".link-peer-{secrets.token_hex(8)}")
    with os.fdopen(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode or 0o666), "wb") as file:
        try:
            if status:
                with contextlib.suppress(OSError):  # only root may give a file away
                    os.fchown(file.fileno(), status.st_uid, status.st_gid)
                os.fchmod(file.fileno(), mode or stat.S_IMODE(status.st_mode))
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        except BaseException:
            os.unlink(name)
            raise
    return name


@contextlib.contextmanager
def _naming_errors(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise LinkPeerError(f"{path} cannot be written: {error.strerror}") from None
