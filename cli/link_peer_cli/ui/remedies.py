"""What a refusal of a service means here, and the command that mends it: one table. docs/operations.md has it, too."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fnmatch import fnmatchcase

import msgspec
from link_peer.domain.errors import BadInput, LinkPeerError, Transient

from link_peer_cli.ui.looked import FACTS, UNKNOWN

DOCTOR = "link-peer doctor"
SETUP, AGAIN, DEPLOY = "link-peer setup", "link-peer setup; {again}", "link-peer package; s deploy -y"
OPERATORS = f"{SETUP} --operators {{person}},<who may now>"
ADD = "link-peer account add {account}"
PROFILE = "link-peer --profile NAME"


class Remedy(msgspec.Struct, frozen=True):
    """What some codes of a service mean here. Texts name facts of the command in braces (`looked.FACTS`)."""

    service: str  # empty where all services have the code
    codes: tuple[str, ...]  # one that ends with `*` stands for all that begin so
    meaning: str
    command: str  # what mends it
    elsewhere: str = ""  # the command where another account than home refused
    says: str = ""  # where it is given, the message matches it, too

    def fits(self, service: str, code: str, text: str) -> bool:
        """Whether it is about an answer with this code and message."""
        matches_code = any(fnmatchcase(code, pattern) for pattern in self.codes)
        return matches_code and self.service in ("", service) and re.search(self.says, text) is not None


OURS = "link-peer"
"""The service of refusals of ours, with codes that no message prints."""
KEY = "the access key {key}"
TABLE = (
    Remedy("", ("InvalidAccessKeyId*", "InvalidAccessKeyID"), f"{KEY} does not exist, or is disabled", "{configure}"),
    Remedy(
        "",
        ("SignatureDoesNotMatch", "SignatureNotMatch", "IncompleteSignature"),
        f"the secret is not that of {KEY}",
        "{configure}",
    ),
    Remedy(
        "",
        ("InvalidSecurityToken.Expired", "SecurityTokenExpired"),
        f"the security token of {KEY} has expired",
        "{configure}",
    ),
    Remedy(
        "",
        ("InvalidSecurityToken*", "SecurityTokenInvalid", "MissingSecurityToken"),
        f"the security token is not that of {KEY}",
        "{configure}",
    ),
    Remedy(
        "",
        ("InvalidTimeStamp.Expired", "RequestTimeExpired", "TimeExpired"),
        "the clock of this machine is wrong by more than 15 minutes",
        "timedatectl set-ntp true",
    ),
    Remedy(
        "",
        (
            "Throttling*",
            "ResourceThrottled",
            "TooManyRequests",
            "QpsLimitExceeded",
            "WriteQuotaExceed",
            "ReadQuotaExceed",
        ),
        "the account has used up its calls for this minute. Run it again in the next minute",
        "{again}",
    ),
    Remedy(
        "ecs",
        ("InvalidRegionId.NotFound", "InvalidRegion.NotFound"),
        "ECS has no region {region}. Name another",
        "link-peer --region <region> doctor",
    ),
    Remedy(
        "mns", ("QueueNotExist",), "the queue does not exist: it was deleted, or never created. Create it first", AGAIN
    ),
    Remedy(
        "mns",
        ("AccessDenied",),
        "RAM does not allow these keys to make this call, or SMQ (MNS) is not activated in account {home}: activate it at "
        "https://mns.console.aliyun.com",
        DOCTOR,
        says="is forbidden for this operation",
    ),
    Remedy(
        "sls",
        ("ProjectNotExist", "LogStoreNotExist", "IndexConfigNotExist"),
        "the audit log is missing or incomplete: it was deleted, or never created. Nothing is changed without a record. Create "
        "it first",
        AGAIN,
    ),
    Remedy(
        "sls",
        ("Unauthorized",),
        "SLS is not activated in account {home}: activate it at https://sls.console.aliyun.com",
        DOCTOR,
        says="inactive",
    ),
    Remedy(
        "fc",
        ("FunctionNotFound", "ServiceNotFound", "AliasNotFound", "VersionNotFound"),
        "the function, or that version of it, is not deployed",
        DEPLOY,
    ),
    Remedy(
        "fc",
        ("AccessDenied",),
        "Function Compute is not activated in account {home}: activate it at https://fcnext.console.aliyun.com",
        DOCTOR,
        says="not enabled",
    ),
    Remedy(
        "eventbridge",
        ("EventBusNotExist", "ServiceAccessDenied", "ServiceNotEnable"),
        "EventBridge is not activated in account {home}: activate it at https://eventbridge.console.aliyun.com",
        DOCTOR,
    ),
    Remedy(
        "ram",
        ("NoPermission", "Forbidden*"),
        "RAM lets only administrators of the account read or change its roles. Use keys of an administrator",
        "{configure}",
    ),
    Remedy(
        "ram",
        ("EntityNotExist*",),
        "the role or its policy does not exist: it was deleted, or never created",
        SETUP,
        ADD,
    ),
    Remedy(
        "",
        ("NoPermission", "Forbidden*", "AccessDenied", "Unauthorized", "InvalidOperation.SecurityGroupNotAuthorized"),
        "RAM does not allow these keys to make this call. An administrator of account {home} can name their owner as an operator",
        OPERATORS,
        ADD,
    ),
    Remedy(
        OURS,
        ("no-region",),
        "there is no region: give --region, set LINK_PEER_REGION, or set that of a profile",
        "aliyun configure",
    ),
    Remedy(
        OURS,
        ("no-key",),
        "there is no access key: set ALIBABA_CLOUD_ACCESS_KEY_ID and ALIBABA_CLOUD_ACCESS_KEY_SECRET, or those of a profile",
        "aliyun configure",
    ),
    Remedy(OURS, ("no-policy",), "the policy file {policy}: set LINK_PEER_POLICY, or make one", "link-peer init"),
    Remedy(
        OURS,
        ("keys-of-another-account",),
        "{arn} belongs to account {owner}; accept, withdraw, adopt, close, reopen and verify take keys of other "
        "accounts by their option --profile; this command needs keys of the home account, {home}",
        PROFILE,
    ),
    Remedy(
        OURS,
        ("keys-of-an-unlisted-account",),
        "{arn} belongs to account {owner}, which the policy file does not list; if another policy file is meant, LINK_PEER_POLICY "
        "names it; else this command needs keys of the home account, {home}",
        PROFILE,
    ),
    Remedy(
        OURS,
        ("keys-enter-no-account",),
        "the keys belong to account {owner}, and only home, account {home}, enters others: use keys of home",
        "",
    ),
    Remedy(
        OURS,
        ("not-an-operator",),
        "you are not an operator: {arn} acts with its own keys, since {lacking} ({code}). An operator is a RAM user who signs in with "
        "MFA, or a role. List everyone who may operate, including those who already may",
        f"{SETUP} --operators {{operator}}",
    ),
    Remedy(
        OURS,
        ("not-a-reader",),
        "you are not a reader: {arn} acts with its own keys, since the role {role} refuses it ({code}). An administrator of home has "
        "to allow it",
        "{may_assume}",
    ),
    Remedy(
        OURS,
        ("not-a-reader-as-account",),
        "you are not a reader: {arn} acts with its own keys, since the role {role} refuses it ({code}). Sign in as a RAM user or a "
        "role, since an account itself cannot assume a role",
        "",
    ),
    Remedy(
        OURS,
        ("no-home-role",),
        "{arn} acts with its own keys, since the role {role} does not exist ({code})",
        SETUP,
    ),
    Remedy(
        OURS,
        ("role-unanswered",),
        "{arn} acts with its own keys, since STS gave no answer about the role {role} ({problem}): run it again",
        "",
    ),
    Remedy(
        OURS,
        ("no-role-there",),
        "the role {role} does not exist; whoever has keys of account {name} runs",
        f"{ADD} --profile PROFILE",
    ),
    Remedy(
        OURS,
        ("no-trust-there",),
        "the role {role} does not trust {arn}, or asks for {lacking}; whoever has keys of account {name} runs",
        f"{ADD} --profile PROFILE",
    ),
    Remedy(
        "",
        ("",),
        "the service could not be reached: an endpoint setting is wrong, region {region} does not have it, or the network of this "
        "machine does not lead to it",
        DOCTOR,
    ),
)
"""The first row that fits an answer is about it."""


def row_of(error: BaseException) -> Remedy | None:
    """The row about an error; None if there is none."""
    answer = answer_of(error)
    if answer is None:
        return None
    return next((row for row in TABLE if row.fits(answer.service, answer.code, str(answer))), None)


def answer_of(error: BaseException | None) -> LinkPeerError | None:
    """What a service answered, or that it did not, of an error or of its causes; None if no service is among them, or
    an error that says itself what to do hides them (`from None`)."""
    while error is not None and not isinstance(error, BadInput):
        if isinstance(error, LinkPeerError) and error.service:
            return error
        error = error.__cause__
    return None


def remedy(error: BaseException, account: str = "") -> str:
    """What an error of a service means, and the command that mends it: of a code that the table does not have, service,
    code, RequestId and `link-peer doctor`. `account` is that which was asked, where the error does not know it. Empty
    if no service answered."""
    answer, row = answer_of(error), row_of(error)
    if answer is None:
        return ""
    account = account or answer.account
    home = FACTS["home"] or "home"
    facts = {**FACTS, "home": home, "account": account or home}
    if row is None:
        request = f", RequestId {answer.request_id}" if answer.request_id else ""
        again = f"{FACTS['again']}; " if isinstance(answer, Transient) else ""
        return f"{answer.service} answered {answer.code}{request}: {again}{DOCTOR}"
    command = row.elsewhere if row.elsewhere and account not in ("", FACTS["home"]) else row.command
    return f"{row.meaning}: {command}".format_map(facts)


def ours(situation: str, /, **facts: str) -> str:
    """The text of a refusal of ours, with the command that mends it."""
    row = next(row for row in TABLE if row.service == OURS and situation in row.codes)
    return ": ".join(filter(None, [row.meaning, row.command])).format_map({**FACTS, **facts})


def message(error: BaseException, account: str = "", *, between: str = "; ") -> str:
    """An error, and what it means with the command that mends it, where a service answered."""
    return between.join(filter(None, [str(error), remedy(error, account)]))


class _Placeholders(dict[str, str]):
    """What a page writes for a fact that only a command knows."""

    def __init__(self, facts: dict[str, str], form: str) -> None:
        super().__init__(facts)
        self._form = form

    def __missing__(self, name: str) -> str:
        return self._form.format(name.replace("_", " "))


def rows() -> Iterator[tuple[str, str, str, str]]:
    """The table, as a page has it: service, codes, meaning, command."""
    facts = {**UNKNOWN, "home": "<uid of home>", "again": "link-peer …", "policy": "cannot be read", "account": "<uid>"}
    filled_facts = {name: text for name, text in facts.items() if text}
    names = _Placeholders(filled_facts, "<{}>")
    quoted = _Placeholders(
        {**filled_facts, **{name: f"`{names[name]}`" for name in ("account", "region", "home")}}, "`<{}>`"
    )
    for row in TABLE:
        codes = " ".join(f"`{code}`" if code else "no answer" for code in row.codes)
        codes += f" (“{row.says}”)" if row.says else ""
        command = "; ".join(f"`{part}`" for part in row.command.split("; ") if part)
        command += f"; of another account `{row.elsewhere}`" if row.elsewhere else ""
        yield row.service or "any", codes, row.meaning.format_map(quoted), command.format_map(names)
