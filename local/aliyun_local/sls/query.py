"""The search language of SLS: from a query string to a predicate over logs.

    expression = both ("or" both)*
    both       = single (["and"] single)*            # words side by side mean "and"
    single     = "not" single | "(" expression ")" | term
    term       = word | "quoted words" | #"phrase" | * | field condition
    condition  = : value  |  > < >= <= = number  |  in [low high], ( and ) for open ends

Operators are case-insensitive; `:` binds tightest, then parentheses, then "and"/"not", then "or" [doc "Search syntax"].
"""

from __future__ import annotations

import re
from collections.abc import Callable
from fnmatch import fnmatchcase
from glob import escape

from msgspec import Struct

from aliyun_local.core.errors import ApiError
from aliyun_local.sls.index import FieldIndex, Index
from aliyun_local.sls.state import StoredLog

Predicate = Callable[[StoredLog], bool]

_TOKEN = re.compile(
    r"""\s* (?: (?P<phrase>\#"(?:\\.|[^"\\])*") | (?P<quoted>"(?:\\.|[^"\\])*")
              | (?P<mark>>=|<=|[():|<>=\[\]]) | (?P<word>(?:\\.|[^\s()":|<>=\[\]\\])+) )""",
    re.VERBOSE | re.DOTALL,
)
# Unescaped wildcards become private-use characters while parsing, to distinguish them from escaped ones.
_MANY, _ONE = "\ue000", "\ue001"
_MAX_DEPTH = 50  # limits the recursion; no documented limit is this low
_MAX_CONDITIONS = 30  # [doc "Query and analysis", limits]
_MAX_FUZZY = 64  # characters of a word with wildcards [doc "Fuzzy search"]


class _Token(Struct, frozen=True):
    kind: str  # phrase | quoted | mark | word
    text: str

    def is_word(self, *words: str) -> bool:
        return self.kind == "word" and self.text.lower() in words

    def is_mark(self, *marks: str) -> bool:
        return self.kind == "mark" and self.text in marks


_END = _Token("end", "")


def compile_query(query: str, index: Index) -> Predicate:
    """Compile a query, checked against the logstore's index; ApiError ParameterInvalid (400) for an invalid one."""
    tokens = _tokens(query)
    if not tokens:
        return _written_with_an_index
    return _Parser(tokens, index).parse()


def _tokens(query: str) -> list[_Token]:
    tokens, position = [], 0
    end = len(query.rstrip())
    while position < end:
        match = _TOKEN.match(query, position)
        if match is None or match.lastgroup is None:
            raise _invalid(f"syntax error at position {position}: {query[position : position + 20]!r}")
        text = match.group(match.lastgroup)
        if match.lastgroup == "word":
            text = re.sub(r"\\.|\*|\?", lambda m: {"*": _MANY, "?": _ONE}.get(m[0], m[0][-1]), text)
        elif match.lastgroup in ("quoted", "phrase"):
            text = re.sub(r"\\(.)", r"\1", text[text.index('"') + 1 : -1])
        tokens.append(_Token(match.lastgroup, text))
        position = match.end()
    return tokens


class _Parser:
    def __init__(self, tokens: list[_Token], index: Index) -> None:
        self._tokens = tokens
        self._position = 0
        self._index = index
        self._depth = 0
        self._conditions = 0

    def parse(self) -> Predicate:
        predicate = self._either()
        if self._peek() is not _END:
            raise _invalid(f"syntax error near {self._peek().text!r}")
        return predicate

    def _peek(self, ahead: int = 0) -> _Token:
        position = self._position + ahead
        return self._tokens[position] if position < len(self._tokens) else _END

    def _next(self) -> _Token:
        token = self._peek()
        self._position += 1
        return token

    def _either(self) -> Predicate:
        parts = [self._conjunction()]
        while self._peek().is_word("or"):
            self._next()
            parts.append(self._conjunction())
        return parts[0] if len(parts) == 1 else lambda log: any(part(log) for part in parts)

    def _conjunction(self) -> Predicate:
        parts = [self._single()]
        while not (self._peek() is _END or self._peek().is_word("or") or self._peek().is_mark(")", "|")):
            if self._peek().is_word("and"):
                self._next()
            parts.append(self._single())
        return parts[0] if len(parts) == 1 else lambda log: all(part(log) for part in parts)

    def _single(self) -> Predicate:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise _invalid("the query is nested too deeply")
        try:
            if self._peek().is_word("not"):
                self._next()
                inner = self._single()
                return lambda log: log.index is not None and not inner(log)
            if self._peek().is_mark("("):
                self._next()
                inner = self._either()
                if not self._next().is_mark(")"):
                    raise _invalid("a parenthesis is not closed")
                return inner
            return self._term()
        finally:
            self._depth -= 1

    def _term(self) -> Predicate:
        self._conditions += 1
        if self._conditions > _MAX_CONDITIONS:
            raise _invalid(f"a search has at most {_MAX_CONDITIONS} conditions")
        token = self._next()
        if token.kind not in ("word", "quoted", "phrase") or token.is_word("and", "or"):
            raise _invalid(f"syntax error near {token.text or 'the end'!r}")
        if token.kind == "phrase":
            return self._anywhere(token)
        name = token.text
        if name == "__tag__" and self._peek().is_mark(":"):  # __tag__:name is one field name
            self._next()
            name = f"__tag__:{self._next().text}"
        follower = self._peek()
        if follower.is_mark(":"):
            self._next()
            return self._value(name)
        if follower.is_mark(">", "<", ">=", "<=", "="):
            return self._comparison(name)
        if follower.is_word("in") and self._peek(1).is_mark("[", "("):
            self._next()
            return self._range(name)
        return self._anywhere(token)

    def _anywhere(self, token: _Token) -> Predicate:
        if token == _Token("word", _MANY):
            return _written_with_an_index
        if self._index.line is None:
            # Stricter than needed: without a full-text index a bare word cannot match anything.
            raise _invalid(
                f"full text index is not configured, so {_literal(token.text)!r} can't be searched: use field: value"
            )
        _check_wildcard(token)

        def log_matches(log: StoredLog) -> bool:
            if log.index is None or log.index.line is None:
                return False
            return _matches(token, log.index.line, log.index.line_texts(log.fields))

        return log_matches

    def _field(self, name: str) -> FieldIndex:
        config = self._index.key(name)
        if config is None:
            # The service's own message, including the stray quotation mark [doc "Common errors"].
            raise _invalid(
                f"key ({_literal(name)}) is not config as key value config,"
                'if symbol : is in your log,please wrap : with quotation mark "'
            )
        return config

    def _value(self, name: str) -> Predicate:
        config, token = self._field(name), self._next()
        if token.kind not in ("word", "quoted", "phrase"):
            raise _invalid(f"key ({name}): a value is missing after the colon")
        if token == _Token("word", _MANY):
            return _on_field(name, lambda _config, _value: True)
        if token == _Token("quoted", ""):
            return _on_field(name, lambda _config, value: value == "")
        if config.numeric:
            operand = self._number(name, token)
            return _on_field(name, lambda written, value: written.numeric and written.number(value) == operand)
        _check_wildcard(token)
        return _on_field(name, lambda written, value: _matches(token, written, [value]))

    def _number(self, name: str, token: _Token) -> float:
        number = self._field(name).number(token.text) if token.kind in ("word", "quoted") else None
        if number is None:
            raise _invalid(f"key ({name}): {_literal(token.text)!r} is not a number")
        return number

    def _numeric(self, name: str) -> None:
        if not self._field(name).numeric:
            raise _invalid(f"key ({name}) is not config as numberic column")  # the service's spelling

    def _comparison(self, name: str) -> Predicate:
        self._numeric(name)
        compare = _COMPARISONS[self._next().text]
        operand = self._number(name, self._next())
        return _on_number(name, lambda number: compare(number, operand))

    def _range(self, name: str) -> Predicate:
        self._numeric(name)
        opening = self._next().text
        low, high = self._number(name, self._next()), self._number(name, self._next())
        closing = self._next()
        if not closing.is_mark("]", ")"):
            raise _invalid(f"key ({name}): a range is written in [low high]")
        above = _COMPARISONS[">=" if opening == "[" else ">"]
        below = _COMPARISONS["<=" if closing.text == "]" else "<"]
        return _on_number(name, lambda number: above(number, low) and below(number, high))


_COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    ">": lambda a, b: a > b,
    "<": lambda a, b: a < b,
    ">=": lambda a, b: a >= b,
    "<=": lambda a, b: a <= b,
    "=": lambda a, b: a == b,
}


def _written_with_an_index(log: StoredLog) -> bool:
    return log.index is not None


def _on_field(name: str, test: Callable[[FieldIndex, str], bool]) -> Predicate:
    def log_matches(log: StoredLog) -> bool:
        written = log.index.key(name) if log.index else None
        return written is not None and name in log.fields and test(written, log.fields[name])

    return log_matches


def _on_number(name: str, test: Callable[[float], bool]) -> Predicate:
    def holds(written: FieldIndex, value: str) -> bool:
        number = written.number(value) if written.numeric else None
        return number is not None and test(number)

    return _on_field(name, holds)


def _matches(token: _Token, config: FieldIndex, texts: list[str]) -> bool:
    """Whether every word of the token occurs in the texts, and a phrase occurs as a whole."""
    words = config.words(token.text)
    if token.kind == "phrase" and not any(config.fold(token.text) in config.fold(text) for text in texts):
        return False
    return bool(words) and all(any(_matches_word(word, config.words(text)) for text in texts) for word in words)


def _matches_word(term: str, words: frozenset[str]) -> bool:
    if _MANY not in term and _ONE not in term:
        return term in words
    pattern = escape(term).replace(_MANY, "*").replace(_ONE, "?")
    return any(fnmatchcase(word, pattern) for word in words)  # never backtracks into an earlier star


def _check_wildcard(token: _Token) -> None:
    if token.kind != "word" or not (_MANY in token.text or _ONE in token.text):
        return
    if token.text.startswith((_MANY, _ONE)):
        raise _invalid(f"{_literal(token.text)!r}: a wildcard can't begin a word")
    if len(token.text) > _MAX_FUZZY:
        raise _invalid(f"a word with wildcards has at most {_MAX_FUZZY} characters")


def _literal(text: str) -> str:
    return text.replace(_MANY, "*").replace(_ONE, "?")


def _invalid(reason: str) -> ApiError:
    return ApiError("ParameterInvalid", 400, reason)
