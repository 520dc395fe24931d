"""Which addresses may stand for an instance in a rule: private ones, in the ranges of its account."""

from __future__ import annotations

import pytest
from link_peer.domain import reasons
from link_peer.planning.permitted import address_denial as denied

from tests.unit.views import A


@pytest.mark.parametrize(
    "ip",
    [
        *("10.0.0.0", "10.255.255.255", "172.16.0.0", "172.31.255.255"),
        *("192.168.0.0", "192.168.255.255", "100.64.0.0", "100.127.255.255"),
    ],
)
def test_a_private_address_is_allowed(ip: str) -> None:
    """Those of RFC 1918, and 100.64.0.0/10."""
    assert denied(A, ip, ()) is None


@pytest.mark.parametrize(
    "ip",
    [
        *("9.255.255.255", "11.0.0.0", "172.15.255.255", "172.32.0.0", "192.167.255.255", "192.169.0.0"),
        *("100.63.255.255", "100.128.0.0", "8.8.8.8", "0.0.0.1", "127.0.0.1", "169.254.1.1", "255.255.255.255"),
        *("", "10.0.0", "10.0.0.256", "10.0.0.0/8", "::ffff:10.0.0.1", "fd00::1", "host"),
    ],
)
def test_any_other_address_is_denied(ip: str) -> None:
    """A VPC may have custom ranges, so the owner of an instance could choose anyone's public address. What is not one IPv4
    address is denied too."""
    found = denied(A, ip, ())
    assert found is not None
    assert found.reason is reasons.ADDRESS_CONFLICT
    assert f"the address of {A}, {ip}, is not private" in found.detail


@pytest.mark.parametrize(
    ("ip", "ranges", "allowed"),
    [
        ("10.20.0.0", ("10.20.0.0/16",), True),
        ("10.20.255.255", ("10.20.0.0/16",), True),
        ("10.19.255.255", ("10.20.0.0/16",), False),
        ("10.21.0.0", ("10.20.0.0/16",), False),
        ("10.21.0.0", ("10.20.0.0/16", "10.21.0.0/24"), True),
        ("10.20.0.5", ("10.20.0.5/32",), True),
        ("10.20.0.6", ("10.20.0.5/32",), False),
    ],
)
def test_the_ranges_of_the_account_bound_its_addresses(ip: str, ranges: tuple[str, ...], allowed: bool) -> None:
    """Any of them may hold the address; the denial names them."""
    found = denied(A, ip, ranges)
    assert (found is None) == allowed
    if found is not None:
        assert (found.reason, ", ".join(ranges) in found.detail) == (reasons.ADDRESS_CONFLICT, True)


def test_ranges_make_no_public_address_private() -> None:
    """A reviewer may have written a custom range of a VPC."""
    found = denied(A, "8.8.8.8", ("8.8.8.0/24",))
    assert found is not None
    assert "is not private" in found.detail
