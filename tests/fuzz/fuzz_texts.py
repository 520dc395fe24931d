"""Coverage-guided fuzzing of everything that reads a text from outside. Run by hand; pytest does not collect it.

    pip install atheris                                   # Linux, Python 3.11 to 3.13; not among the requirements
    python tests/fuzz/fuzz_texts.py tags -max_total_time=60
    python tests/fuzz/fuzz_texts.py requests tests/fuzz/corpus -max_total_time=600     # keeps what it finds there

Readers: tags, requests, events, markers, policy. Whatever follows is libFuzzer's. It stops at the first input that makes a
reader raise anything but our own errors, or break its round trip, and writes that input to `crash-<hash>`; give the
file's name in place of a folder to run it again. A crash that is mended becomes a case of tests/unit/test_hostile.py.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import atheris

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "shared")]

with atheris.instrument_imports(include=["link_peer", "yaml"]):
    from link_peer.domain.errors import BadInput, Denied, PolicyError
    from link_peer.domain.marker import fits, parse, render
    from link_peer.domain.tags import Accept, Peer, accepts, bad_accepts, link_until, parse_instant, peers
    from link_peer.inbound.events import decode as decode_event
    from link_peer.inbound.events import elements, queue_message
    from link_peer.inbound.policy_file import parse as parse_policy
    from link_peer.inbound.requests import decode, encode

HOME = "1000000000000001"
REGION = "cn-qingdao"
NOW = parse_instant("2026-11-25T07:00:00Z")


def tags(data: bytes) -> None:
    """A peer or a consent that is read is read again from what it says."""
    value = text(data)
    for _, read in peers({"link-peer": value}, HOME):
        if isinstance(read, Peer) and read.party.is_group:
            ports = "+".join(map(str, read.ports))
            assert peers({"link-peer": f"{read.party}:{ports}" if ports else str(read.party)}, HOME)[0][1] == read
    for accept in accepts({"link-accept": value}, HOME):
        assert isinstance(accept, Accept)
        assert accept in accepts({"link-accept": accept.text.partition("=")[2]}, HOME)
    bad_accepts({"link-accept": value}, HOME)
    assert isinstance(link_until({"link-until": value}), int | BadInput)


def requests(data: bytes) -> None:
    """A request that is accepted is the same after another round."""
    try:
        request = decode(data, region=REGION, now=NOW)
    except (BadInput, Denied):
        return
    assert decode(encode(request), region=REGION, now=NOW) == request


def events(data: bytes) -> None:
    try:
        found = elements(data)
    except BadInput:
        return
    for element in found:
        for read in (lambda e: decode_event(e, home=HOME, region=REGION), queue_message):
            try:
                read(element)
            except BadInput:
                continue


def markers(data: bytes) -> None:
    """A marker that is read is one that we could have written."""
    marker = parse(text(data), HOME)
    if marker is not None:
        written = render(marker, HOME)
        assert fits(written)
        assert parse(written, HOME) == marker


def policy(data: bytes) -> None:
    try:
        read = parse_policy(text(data))
    except PolicyError:
        return
    assert read.home in read.accounts


def text(data: bytes) -> str:
    """Any text, lone surrogates too; bytes that are none are read one by one."""
    try:
        return data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return data.decode("latin-1")


READERS: dict[str, Callable[[bytes], None]] = {
    reader.__name__: reader for reader in (tags, requests, events, markers, policy)
}
SEEDS: dict[str, list[bytes]] = {
    "tags": [f"sg-a@{HOME}:tcp/8000-8010+udp/53+icmp,i-b *@{HOME}".encode(), b"2027-01-01T00:00:00.5+08:00"],
    "requests": [
        b'{"version":1,"request_id":"r","action":"link","region":"cn-qingdao","from":{"account":"1000000000000001","party":'
        b'"sg-a"},"to":{"account":"1000000000000002","party":"sg-b"},"ports":["tcp/1"],"expires_at":"2026-11-25T08:00:00Z"}'
    ],
    "events": [path.read_bytes() for path in sorted((ROOT / "events").glob("*.json"))],
    "markers": [
        b"link-peer/1 dep=prod id=daed3c026b1eb6c4 by=tag,req:chg-1~20270101T000000Z from=i-a to=i-b@1000000000000002"
    ],
    "policy": [(ROOT / "policy.yaml").read_bytes()],
}


def main() -> None:
    if len(sys.argv) < 2 or sys.argv[1] not in READERS:
        sys.exit(f"usage: fuzz_texts.py {'|'.join(READERS)} [libFuzzer's options]")
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
