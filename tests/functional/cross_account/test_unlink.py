"""cross_account removes the claims of requests and no others, and ends links that have an end."""

from __future__ import annotations

from link_peer.domain.tags import compact, parse_instant

from tests.functional.lab import HOME, Lab


def test_an_unlink_needs_no_consent(lab: Lab) -> None:
    a, b = lab.pair()
    lab.cross_account(lab.request(a, b))
    lab.tag(a, link_accept=None)
    lab.tag(b, link_accept=None)
    assert lab.cross_account(lab.request(a, b, action="unlink")) == {"removed": 1}
    assert (lab.rules(a), lab.rules(b)) == ([], [])


def test_other_rules_between_the_two_stay(lab: Lab) -> None:
    """A person's rule, another deployment's, and one with a forged marker."""
    a, b = lab.pair()
    base = {"IpProtocol": "TCP", "SourceGroupId": a.id, "SourceGroupOwnerId": HOME, "Priority": "100"}
    for ports, text in {
        "1/1": "by hand",
        "2/2": f"link-peer/2 dep=test home={HOME} id={lab.rule_id(b, a, 'tcp/2')} by=tag",
        "3/3": f"link-peer/2 dep=prod home={HOME} id=0123456789abcdef by=req:chg-1",
    }.items():
        lab.authorize(b, **base, PortRange=ports, Description=text)
    before = lab.raw_rules(b)
    assert lab.cross_account(lab.request(a, b, action="unlink")) == {"unchanged": 1}
    assert lab.raw_rules(b) == before


def test_an_unlink_of_deleted_instances_removes_their_rules(lab: Lab) -> None:
    """Their rules are found through the managed tag of their groups."""
    a, b = lab.pair()
    one, two = lab.instance(a), lab.instance(b)
    lab.cross_account(lab.request(one, two))
    for instance in (one, two):
        lab.release(instance)
    assert lab.cross_account(lab.request(one, two, action="unlink")) == {"removed": 1}
    assert (lab.rules(a), lab.rules(b)) == ([], [])


def test_an_unlink_that_has_begun_in_time_is_finished(lab: Lab) -> None:
    """Its five minutes are over after the rule of the first side went: the other side's goes, too."""
    a, b = lab.pair()
    lab.cross_account(lab.request(a, b))
    unlink = lab.request(a, b, action="unlink", request_id="chg-2", expires_at=lab.iso(-298))
    lab.meanwhile("RevokeSecurityGroup", lambda: lab.cloud.clock.advance(3), after=True)
    assert lab.cross_account(unlink) == {"removed": 1}
    assert (lab.rules(a), lab.rules(b)) == ([], [])


# ends


def test_two_halves_of_one_request_with_different_ends_do_not_outlive_the_earlier_one(lab: Lab) -> None:
    """Someone changed the end in one marker. Neither end can be asked for again, and once the earlier half has ended the
    other is half of a link, which the sweep removes."""
    a, b = lab.pair()
    lab.instance(a)
    lab.instance(b)
    earlier, later = lab.iso(600), lab.iso(36_000)
    lab.cross_account(lab.request(a, b, until=earlier))
    (rule,) = lab.raw_rules(a)
    lab.modify(a, rule, Description=rule["Description"].replace(*(compact(parse_instant(t)) for t in (earlier, later))))
    before = lab.raw_rules(a), lab.raw_rules(b)
    for until in (earlier, later):
        assert lab.cross_account(lab.request(a, b, until=until)) == {"denied": 1}
        assert lab.outcome()["reason"] == "id-in-use"
    assert (lab.raw_rules(a), lab.raw_rules(b)) == before
    lab.cloud.clock.advance(600)
    lab.sweep()
    assert (len(lab.rules(a)), lab.rules(b)) == (1, [])
    lab.cloud.clock.advance(1800)
    lab.sweep()
    assert (lab.rules(a), lab.rules(b)) == ([], [])
    assert lab.outcome()["reason"] == "half-open"
