"""Flow logs have what VPC writes: a line of each flow at each end, in windows, or one that says there was none."""

from __future__ import annotations

from aliyun_local.api import Capture, Ports, conversation, lines

START = 1_795_564_800
A, B = (
    {
        "NetworkInterfaceId": f"eni-{n}",
        "InstanceId": f"i-{n}",
        "VpcId": "vpc-1",
        "OwnerId": "1",
        "PrivateIpAddress": f"10.0.0.{n}",
    }
    for n in (1, 2)
)


def texts(capture: Capture, **how: object) -> list[tuple[str, ...]]:
    """The lines of half an hour with a connection in its middle, but for those without data."""
    flows = conversation(START + 900, A, B, Ports(443), **how)  # type: ignore[arg-type]
    records = lines([A, B], flows, (START, START + 1800), capture=capture)
    names = ("eni-id", "direction", "srcaddr", "srcport", "dstaddr", "dstport", "action")
    return [
        tuple(record.contents[name] for name in names) for record in records if record.contents["log-status"] == "OK"
    ]


def test_a_connection_has_its_lines_at_both_ends() -> None:
    """What is sent, and what answers it; behind NAT, the target sees another address, and what it refuses is answered
    by nobody."""
    sent, answered = ("10.0.0.1", "40000", "10.0.0.2", "443"), ("10.0.0.2", "443", "10.0.0.1", "40000")
    assert texts(Capture()) == [
        ("eni-1", "out", *sent, "ACCEPT"),
        ("eni-1", "in", *answered, "ACCEPT"),
        ("eni-2", "in", *sent, "ACCEPT"),
        ("eni-2", "out", *answered, "ACCEPT"),
    ]
    assert texts(Capture(), accepted=False) == [("eni-1", "out", *sent, "ACCEPT"), ("eni-2", "in", *sent, "REJECT")]
    assert ("eni-2", "in", "10.9.9.9", *sent[1:], "ACCEPT") in texts(Capture(), nat="10.9.9.9")
    assert len(texts(Capture(), answered=False)) == 2


def test_a_log_lacks_what_was_not_captured() -> None:
    """Windows that were skipped say so, gaps have no line, late lines are not there yet, another path has no private
    addresses."""
    whole = lines([A], [], (START, START + 1800))
    assert [(record.contents["log-status"], record.time - START) for record in whole] == [
        ("NODATA", n) for n in (599, 1199, 1799)
    ]
    for capture, statuses in (
        (Capture(300), ["NODATA"] * 6),
        (Capture(gaps=(("eni-1", START, START + 600),)), ["NODATA"] * 2),
        (Capture(skipped=(("eni-1", START, START + 600),)), ["SKIPDATA", "NODATA", "NODATA"]),
        (Capture(late=600), ["NODATA"] * 2),
    ):
        records = lines([A], [], (START, START + 1800), capture=capture)
        assert [record.contents["log-status"] for record in records] == statuses
    assert texts(Capture(optional=("traffic_path",), path="ipv4Gateway")) == []


def test_flags_are_in_a_log_that_has_them() -> None:
    """SYN of who connects, SYN and ACK of who answers."""
    flows = conversation(START, A, B, Ports(443))
    capture = Capture(optional=("tcp-flags",))
    records = lines([B], flows, (START, START + 600), capture=capture)
    assert [record.contents["tcp-flags"] for record in records] == ["2", "18"]
    assert {"tcp-flags", "srcport"} <= capture.index()["keys"].keys()
