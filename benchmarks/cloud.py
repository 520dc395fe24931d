"""The local cloud over TLS in a process of its own, so that neither its CPU time nor its memory counts as the
function's."""

from __future__ import annotations

import gc
import tempfile
import threading
from collections.abc import Callable, Mapping
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, TypeVar

import certifi
from aliyun_local.api import VARIABLES, Authority, LocalCloud, PastClock, serve
from link_peer_cli.demo import world
from link_peer_deploy import authorities

from benchmarks import worlds

P = ParamSpec("P")
R = TypeVar("R")


class CloudProcess:
    """Ask it with a function of `benchmarks.worlds`: `cloud(worlds.tag, instance, "link-peer", "sg-…")`."""

    def __init__(self, world_file: str = world.DEFAULT) -> None:
        """`world_file` is what it starts from, as for `world.load`."""
        context = get_context("spawn")
        self._pipe, child_pipe = context.Pipe()
        self._folder = tempfile.TemporaryDirectory(prefix="link-peer-")
        self._process = context.Process(target=_serve, args=(child_pipe, world_file, self._folder.name), daemon=True)
        self._lock = threading.Lock()
        self._process.start()
        settings: Mapping[str, str] = self(worlds.settings)
        file, folder = self._trusted()
        self.env: Mapping[str, str] = {**settings, "SSL_CERT_DIR": str(folder)}
        """The environment variables of a function that uses this cloud. Its authority is in a folder, as those of
        certifi are in a package."""
        self.peer_env: Mapping[str, str] = {**settings, **dict.fromkeys(VARIABLES, str(file))}
        """Those of the handlers beside it, which read a file of as many."""

    def __call__(self, ask: Callable[Concatenate[LocalCloud, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run a function on the cloud in its process. Its problem is raised here."""
        with self._lock:
            self._pipe.send((ask, args, kwargs))
            answer: Any = self._pipe.recv()
        if isinstance(answer, BaseException):
            raise answer
        return answer  # type: ignore[no-any-return]

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.join()
        self._folder.cleanup()

    def _trusted(self) -> tuple[Path, Path]:
        """The cloud's authority among all of certifi, as a file and as a folder."""
        file = Path(self._folder.name, "authorities.pem")
        authority_text = Path(self._folder.name, "authority.pem").read_text(encoding="ascii")
        file.write_text(authority_text + certifi.contents(), encoding="ascii")
        authorities.write(file, file.with_suffix(""))
        return file, file.with_suffix("")

    def __enter__(self) -> CloudProcess:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()


def _serve(pipe: Connection, world_file: str, folder: str) -> None:
    cloud = LocalCloud(PastClock())
    world.load(cloud, world_file)
    serve(cloud, authority=Authority(Path(folder)))
    while True:
        try:
            ask, args, kwargs = pipe.recv()
        except EOFError:
            return
        try:
            answer = ask(cloud, *args, **kwargs)
        except Exception as problem:
            answer = problem
        gc.collect()
        gc.freeze()  # a large world should not be looked at again and again
        pipe.send(answer)
