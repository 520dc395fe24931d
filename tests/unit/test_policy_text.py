"""An account's lines go into the policy file's text, and every comment stays where it was."""

from __future__ import annotations

import pytest
from link_peer.domain.errors import LinkPeerError
from link_peer.inbound.policy_file import parse
from link_peer_cli.setup.policy_text import entry, with_entry

NEW = "1000000000000003"
ADDED = entry(NEW, "c", f"acs:ram::{NEW}:role/link-peer", "abcdef0123456789", "q-3", ["10.0.0.0/8"])
HOME_LINE = '  "1000000000000001": {name: a}\n'


SAMPLE = """deployment: prod
# Exactly one account has no role.
accounts:
  "1000000000000001": {name: a@aliyun.com}
  "1000000000000002":
    name: b@aliyun.com
    role: "acs:ram::1000000000000002:role/link-peer"
    external_id: link-peer-local-example
    # Optional. Only from these addresses:
    # ranges: [10.20.0.0/16]
    # queue: link-peer-requests-b

# Whether tags consent.
accept_tags: true
"""


def test_the_sample_policy_keeps_its_comments() -> None:
    """The new account stands after the comments about the last one, and before the next key."""
    text = SAMPLE
    new = with_entry(text, ADDED)
    assert new.replace(ADDED, "") == text
    assert new.index("# queue: ") < new.index(NEW) < new.index("# Whether")
    policy = parse(new)
    assert list(policy.accounts)[-1] == NEW
    assert (policy.accounts[NEW].ranges, policy.accounts[NEW].queue) == (("10.0.0.0/8",), "q-3")


@pytest.mark.parametrize(
    "text",
    [
        f"deployment: a\naccounts:\n{HOME_LINE}",
        f"accounts:\n{HOME_LINE}deployment: a\n",
        f"accounts:\n{HOME_LINE}\n# next\ndeployment: a\n",
        'accounts:\n    "1000000000000001":\n        name: a\ndeployment: a',
        'accounts:\n "1000000000000001": {name: a}\ndeployment: a\n',
        'deployment: a\naccounts:\n  "1000000000000001": {name: a}',
    ],
)
def test_any_layout_of_blocks_is_understood(text: str) -> None:
    """Whatever the order, the indentation and the end of the file."""
    policy = parse(with_entry(text, ADDED))
    assert list(policy.accounts) == ["1000000000000001", NEW]


@pytest.mark.parametrize("name", ["财务", 'the "old" one', 'it\'s \\ "new"'])
def test_any_name_is_quoted_so_that_it_is_read_as_it_is(name: str) -> None:
    """The policy file allows no escapes in double quotes."""
    added = entry(NEW, name, f"acs:ram::{NEW}:role/link-peer", "abcdef0123456789", "", [])
    assert parse(with_entry(SAMPLE, added)).accounts[NEW].name == name


@pytest.mark.parametrize("last", ["", "deployment: a\n"])
def test_the_ends_of_lines_stay_as_they_are(last: str) -> None:
    """Those of Windows, and none at the end of the file."""
    first = "" if last else "deployment: a\n"
    text = f"{first}accounts:\n{HOME_LINE}{last}"
    new = with_entry(text, ADDED)
    assert new == f"{text.removesuffix(last)}{ADDED}{last}"
    assert with_entry(text.replace("\n", "\r\n"), ADDED) == new.replace("\n", "\r\n")
    assert with_entry(text.removesuffix("\n"), ADDED) == new.removesuffix("\n")


@pytest.mark.parametrize("text", ['{accounts: {"1000000000000001": {name: a}}}', "accounts:\n", "deployment: a\n"])
def test_other_layouts_are_left_to_the_person(text: str) -> None:
    """Nothing is guessed."""
    with pytest.raises(LinkPeerError, match="add the lines yourself"):
        with_entry(text, ADDED)
