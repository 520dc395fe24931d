"""The search language of SLS, against logs held in memory."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from aliyun_local.core.errors import ApiError
from aliyun_local.sls.index import DEFAULT_TOKENS, Index, parse
from aliyun_local.sls.query import compile_query
from aliyun_local.sls.state import StoredLog
from clients import refusal, refused

TOKENS = sorted(DEFAULT_TOKENS)
INDEX = parse(
    {
        "line": {"token": TOKENS, "caseSensitive": False},
        "keys": {
            "outcome": {"type": "text", "token": TOKENS, "caseSensitive": False},
            "reason": {"type": "text", "token": [], "caseSensitive": True},
            "detail": {"type": "text", "token": TOKENS, "caseSensitive": False},
            "count": {"type": "long"},
            "ratio": {"type": "double"},
        },
    }
)


def log(fields: Mapping[str, str], index: Index | None = INDEX) -> StoredLog:
    return StoredLog((0, 0, 0), fields, index, 0.0)


LOG = log(
    {
        "outcome": "denied",
        "reason": "no-consent",
        "detail": "sg-db has not accepted sg-app: and/or (tag it)",
        "count": "10",
        "ratio": "0.5",
        "unindexed": "treasure",
        "__source__": "10.0.0.1",
        "__topic__": "events",
        "__tag__:zone": "b",
    }
)


def is_matched(query: str, of: StoredLog = LOG, index: Index = INDEX) -> bool:
    return compile_query(query, index)(of)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", True),
        ("*", True),
        ("denied", True),
        ("DENIED", True),
        ("deni", False),
        ("outcome", True),  # full text covers names too
        ("treasure", True),
        ("applied", False),
        ("outcome: denied", True),
        ("outcome:denied", True),
        ("outcome : denied", True),
        ("outcome: applied", False),
        ("reason: no-consent", True),
        ("reason: No-Consent", False),  # case-sensitive field
        ("reason: consent", False),  # "-" is not a delimiter
        ("denied and sg-app", True),
        ("denied sg-app", True),
        ("denied applied", False),
        ("applied or denied", True),
        ("not applied", True),
        ("not denied", False),
        ("denied not applied", True),
        ("denied NOT sg-app", False),
        ("denied AND NOT applied", True),
        ("applied and applied or denied", True),
        ("applied and (applied or denied)", False),
        ("denied or applied and applied", True),  # "and" binds tighter
        ("not (applied or denied)", False),
        ("not not denied", True),
        ('"denied"', True),
        ('detail: "accepted sg-app"', True),
        ('detail: "sg-app accepted"', True),  # quoted words are words, in any order
        ('detail: #"not accepted sg-app"', True),
        ('detail: #"accepted not"', False),
        ('#"has not accepted"', True),
        ('detail: "and"', True),
        ('detail: "(tag"', True),
        ("outcome: den*", True),
        ("outcome: d?nied", True),
        ("outcome: app*", False),
        ('outcome: "den*"', False),  # a star in quotes is not a wildcard
        (r"outcome: den\*", False),
        ("den*", True),
        ("outcome: d*n*d", True),
        ("outcome: d*n*e", False),
        (r"outcome: d\[e\]n*", False),  # no other character is a wildcard
        ("outcome: *", True),
        ("count: *", True),
        ('outcome: ""', False),
        ("count: 10", True),
        ("count: 11", False),
        ("count > 9", True),
        ("count > 10", False),
        ("count >= 10", True),
        ("count < 10", False),
        ("count <= 10", True),
        ("count = 10", True),
        ("count>9 and count<11", True),
        ("count in [1 10]", True),
        ("count in [1 10)", False),
        ("count in (10 20]", False),
        ("count in (9 20)", True),
        ("ratio > 0.4", True),
        ("ratio in [0.1 0.4]", False),
        ("__topic__: events", True),
        ("__source__: 10.0.0.1", True),
        ("__tag__:zone: b", True),
        ('"__tag__:zone": c', False),
        ("outcome: denied and count > 5 and not reason: expired", True),
    ],
)
def test_query_matches(query: str, expected: bool) -> None:
    """Each query finds the log or not, as the search syntax says."""
    assert is_matched(query) is expected


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("unindexed: treasure", "key (unindexed) is not config as key value config"),
        ("outcome > 3", "key (outcome) is not config as numberic column"),
        ("outcome in [1 2]", "key (outcome) is not config as numberic column"),
        ("count: many", "'many' is not a number"),
        ("count > many", "'many' is not a number"),
        ("count in [1]", "is not a number"),
        ("count in [1 2", "in [low high]"),
        ("(denied", "parenthesis is not closed"),
        ("denied)", "syntax error near ')'"),
        ("and denied", "syntax error near 'and'"),
        ("denied and", "syntax error near 'the end'"),
        ("denied or", "syntax error near 'the end'"),
        ("not", "syntax error near 'the end'"),
        ("outcome:", "value is missing"),
        ("outcome: (a or b)", "value is missing"),
        ('"denied', "syntax error at position 0"),
        ("*enied", "can't begin a word"),
        ("outcome: ?enied", "can't begin a word"),
        ("* | select count(1)", "syntax error near "),
        ("(" * 60 + "denied" + ")" * 60, "nested too deeply"),
        (" or ".join(["denied"] * 31), "at most 30 conditions"),
        ("d" * 64 + "*", "at most 64 characters"),
    ],
)
def test_invalid_query_is_refused(query: str, words: str) -> None:
    """ParameterInvalid (400), and the message says why."""
    with refused("ParameterInvalid", 400) as refusal:
        is_matched(query)
    assert words in refusal.value.message


@pytest.mark.parametrize("query", ["outcome: a" + "*a" * 30 + "b", "outcome: a" + "*?" * 30 + "b"])
def test_wildcards_do_not_backtrack(query: str) -> None:
    """The cost is not exponential in the number of stars."""
    assert not is_matched(query, log({"outcome": "a" * 100_000}))


def test_only_the_first_512_kilobytes_of_a_value_are_searched() -> None:
    """The rest is stored and shown."""
    long = log({"outcome": "first " + "x" * 512 * 1024 + " last"})
    assert [is_matched(f"outcome: {word}", long) for word in ("first", "last")] == [True, False]


def test_empty_value_can_be_searched() -> None:
    """`field: ""` finds a field that exists and is empty, and nothing else."""
    assert is_matched('outcome: ""', log({"outcome": ""}))
    assert not is_matched('outcome: ""', log({"reason": "x"}))


def test_a_value_that_is_no_number_is_not_in_a_long_index() -> None:
    """A log with text in its long field is not found by number."""
    assert not any(is_matched("count >= 0", log({"count": text})) for text in ("many", str(1 << 63), "9" * 5000))
    assert is_matched("count >= 0", log({"count": str((1 << 63) - 1)}))


def test_index_is_not_retroactive() -> None:
    """A log written before the index is never found, not even by `*` or `not`."""
    early = log(LOG.fields, None)
    assert [is_matched(query, early) for query in ("*", "denied", "not applied", "outcome: denied", "")] == [False] * 5


def test_a_field_is_searched_by_the_index_it_was_written_under() -> None:
    """A field that was indexed later is not found in earlier logs."""
    before = parse({"keys": {"outcome": {"type": "text", "token": TOKENS}}})
    assert not is_matched("reason: no-consent", log(LOG.fields, before))
    assert is_matched("outcome: denied", log(LOG.fields, before))


def test_bare_words_need_a_full_text_index() -> None:
    """With field indexes only, a bare word is refused and `field: value` works."""
    fields_only = parse({"keys": {"outcome": {"type": "text", "token": TOKENS}}})
    assert is_matched("outcome: denied", log(LOG.fields, fields_only), fields_only)
    with pytest.raises(ApiError, match="full text index is not configured"):
        is_matched("denied", log(LOG.fields, fields_only), fields_only)


def test_full_text_index_can_exclude_fields() -> None:
    """With `exclude_keys` or `include_keys`."""
    without = parse({"line": {"token": TOKENS, "exclude_keys": ["unindexed"]}})
    only = parse({"line": {"token": TOKENS, "include_keys": ["unindexed"]}})
    assert not is_matched("treasure", log(LOG.fields, without), without)
    assert is_matched("treasure", log(LOG.fields, only), only)
    assert not is_matched("denied", log(LOG.fields, only), only)


@pytest.mark.parametrize(
    "document",
    [
        {},
        [],
        {"line": {}},
        {"line": {"caseSensitive": True}},
        {"keys": {"a": {"type": "number"}}},
        {"keys": {"a": {"type": "text", "token": ", "}}},
        {"keys": {"a": {"type": "text", "token": ["ab"]}}},
        {"keys": {"a": "text"}},
        {"line": {"token": [","], "include_keys": 5}},
        {"line": {"token": [","], "exclude_keys": [["a"]]}},
        {"line": {"token": [","]}, "max_text_len": 63},
        {"line": {"token": [","], "include_keys": ["a"], "exclude_keys": ["b"]}},
    ],
)
def test_invalid_index_is_refused(document: object) -> None:
    """An index without content, or with a wrong type or delimiter list, is IndexInfoInvalid (400)."""
    assert refusal(parse, document) == ("IndexInfoInvalid", 400)
