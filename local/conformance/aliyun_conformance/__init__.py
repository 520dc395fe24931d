"""The questions to a cloud: tests with the mark `real_cloud`, and what `link-peer selftest` asks them with.

`make test` asks the local cloud, and `link-peer selftest` an account that its owner has marked.
"""

from importlib.util import find_spec

from link_peer.domain.errors import LinkPeerError

if not find_spec("pytest"):
    raise LinkPeerError(
        "the questions are asked with pytest, which is not installed: pipx install --force 'link-peer[selftest]'"
    )
