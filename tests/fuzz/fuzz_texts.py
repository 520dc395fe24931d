"""Coverage-guided fuzzing of everything that parses untrusted text. Run it by hand; pytest does not collect it.

    pip install atheris                                   # Linux, Python 3.11 to 3.13; not in requirements-dev.txt
    python tests/fuzz/fuzz_texts.py tags -max_total_time=60
    python tests/fuzz/fuzz_texts.py requests tests/fuzz/corpus -max_total_time=600     # keeps interesting inputs there

The first argument is a reader: tags, requests, events, markers or policy. The others are passed to libFuzzer. It stops at
the first input for which a reader raises an error that is not ours, or fails its round trip, and writes that input to
`crash-<hash>`. To reproduce it, pass that file instead of a folder. When the crash is fixed, add the input as a case to
tests/unit/test_hostile.py.
"""

from __future__ import annotations

import functools
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import atheris

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "shared")]

with atheris.instrument_imports(include=["link_peer", "yaml"]):
    from link_peer.domain.denial import LinkDenied
    from link_peer.domain.errors import BadInput, PolicyError
    from link_peer.domain.marker import MAX_LENGTH, parse, render
    from link_peer.domain.tags import Accept, Peer, accepts, bad_accepts, link_until, parse_instant, peers, tag_keys
    from link_peer.inbound.events import decode as decode_event
    from link_peer.inbound.events import elements, queue_message
    from link_peer.inbound.policy_file import parse as parse_policy
    from link_peer.inbound.requests import decode, encode

HOME = "1000000000000001"
REGION = "cn-qingdao"
NOW = parse_instant("2026-11-25T07:00:00Z")


def tags(data: bytes) -> None:
    """A peer or consent that was parsed is written as text that parses to the same value."""
    value, keys = text(data), tag_keys("link", "prod", HOME)
    for _, read in peers({"link-peer": value}, HOME, keys):
        if isinstance(read, Peer) and read.party.is_group:
            ports = "+".join(map(str, read.ports))
            assert peers({"link-peer": f"{read.party}:{ports}" if ports else str(read.party)}, HOME, keys)[0][1] == read
    for accept in accepts({"link-accept": value}, HOME, keys):
        assert isinstance(accept, Accept)
        assert accept in accepts({"link-accept": accept.text.partition("=")[2]}, HOME, keys)
    bad_accepts({"link-accept": value}, HOME, keys)
    assert isinstance(link_until({"link-until": value}, keys), int | BadInput)


def requests(data: bytes) -> None:
    """A request or look that was decoded is encoded as a message that decodes to the same value."""
    try:
        message = decode(data, region=REGION, now=NOW)
    except (BadInput, LinkDenied):
        return
    assert decode(encode(message), region=REGION, now=NOW) == message


def events(data: bytes) -> None:
    """A delivery is split and decoded, or raises BadInput."""
    try:
        found = elements(data)
    except BadInput:
        return
    keys = tag_keys("link", "prod", HOME)
    for element in found:
        for read in (functools.partial(decode_event, keys=keys), queue_message):
            try:
                read(element, home=HOME, region=REGION)
            except BadInput:
                continue


def markers(data: bytes) -> None:
    """A marker that was parsed is rendered as text that fits into a Description and parses to the same marker."""
    marker = parse(text(data))
    if marker is not None:
        written = render(marker)
        assert len(written) <= MAX_LENGTH
        assert parse(written) == marker


def policy(data: bytes) -> None:
    """A policy that was parsed has its home account in its list of accounts."""
    try:
        read = parse_policy(text(data))
    except PolicyError:
        return
    assert read.home in read.accounts


def text(data: bytes) -> str:
    """Fuzzer bytes as text: UTF-8 with lone surrogates allowed, else Latin-1."""
    try:
        return data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return data.decode("latin-1")


READERS: dict[str, Callable[[bytes], None]] = {
    reader.__name__: reader for reader in (tags, requests, events, markers, policy)
}
SEEDS: dict[str, list[bytes]] = {
    "tags": [
        f"sg-a@{HOME}:tcp/8000-8010+udp/53+icmp,i-b *@{HOME}~20270101T000000Z".encode(),
        b"2027-01-01T00:00:00.5+08:00",
    ],
    "requests": [
        b'{"version":1,"request_id":"r","action":"link","region":"cn-qingdao","from":{"account":"1000000000000001","party":'
        b'"sg-a"},"to":{"account":"1000000000000002","party":"sg-b"},"ports":["tcp/1"],"expires_at":"2026-11-25T08:00:00Z"}',
        b'{"version":1,"request_id":"look-i-a","action":"look","region":"cn-qingdao","party":{"account":"1000000000000001",'
        b'"party":"i-a"},"expires_at":"2026-11-25T07:05:00.922Z","attempt":1}',
    ],
    "events": [path.read_bytes() for path in sorted((ROOT / "events").glob("*.json"))],
    "markers": [
        b"link-peer/2 dep=prod home=1000000000000001 id=0f4701091c58a844 by=tag,req:chg-1~20270101T000000Z "
        b"from=i-a to=i-b@1000000000000002"
    ],
    "policy": [(ROOT / "benchmarks" / "policy.yaml").read_bytes()],
}


def main() -> None:
    """Fuzzes the reader that the command line names."""
    if len(sys.argv) < 2 or sys.argv[1] not in READERS:
        sys.exit(f"usage: fuzz_texts.py {'|'.join(READERS)} [libFuzzer options]")
    name = sys.argv.pop(1)
    with tempfile.TemporaryDirectory() as folder:
        for number, seed in enumerate(SEEDS[name]):
            (Path(folder) / str(number)).write_bytes(seed)
        given = [option for option in sys.argv[1:] if not option.startswith("-")]
        options = [option for option in sys.argv[1:] if option.startswith("-")]
        single = len(given) == 1 and Path(given[0]).is_file()
        atheris.Setup([sys.argv[0], *options, *given, *([] if single else [folder])], READERS[name])
        atheris.Fuzz()


if __name__ == "__main__":
    main()
