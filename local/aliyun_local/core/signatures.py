"""Verifies who signed a request: every signature is recomputed from the raw request, in the scheme of its service.

Schemes [wire captures, SDK sources]: ACS3-HMAC-SHA256 (ECS, STS, EventBridge, FC), the RPC signature in the parameters
(HMAC-SHA1, HMAC-SHA256), `LOG` and `SLS4-HMAC-SHA256` (SLS), `MNS`, `FC` and `acs:` (older clients of functions and of
EventBridge).
"""

from __future__ import annotations

import hashlib
import hmac
import re
import time
from base64 import b64encode
from collections.abc import Mapping
from datetime import datetime, timezone
from functools import lru_cache
from urllib.parse import quote, unquote

from aliyun_local.core import refusals
from aliyun_local.core.errors import ApiError
from aliyun_local.core.http import Request, pairs
from aliyun_local.core.identity import Caller, Identity, Key

MAX_SKEW_SECONDS = 15 * 60

_SCHEMES = {
    "sls": ("LOG", "SLS4-HMAC-SHA256"),
    "mns": ("MNS",),
    "fc": ("ACS3-HMAC-SHA256", "FC"),
    "eventbridge": ("ACS3-HMAC-SHA256", "acs"),
}


def verify(service: str, request: Request, params: Mapping[str, str], identity: Identity, now: float) -> Caller:
    """The caller who signed the request; ApiError with the service's own code and message otherwise.

    `params` are the query and form parameters of an RPC call, empty for other styles. `now` is the cloud's time, by
    which temporary keys expire. Dates in requests are compared with the machine's time, because clients sign with it.
    """
    return _Check(service, request, params, identity, now).caller()


class _Check:
    def __init__(
        self, service: str, request: Request, params: Mapping[str, str], identity: Identity, now: float
    ) -> None:
        self.refusals = refusals.BY_SERVICE.get(service, refusals.RPC)
        self.schemes = _SCHEMES.get(service, ("ACS3-HMAC-SHA256",))
        self.request = request
        self.headers = request.headers
        self.params = params
        self.identity = identity
        self.now = now

    def refuse(self, cause: str, value: str = "") -> ApiError:
        code, status, message = self.refusals[cause]
        return ApiError(code.replace("{0}", value), status, message.replace("{0}", value))

    def caller(self) -> Caller:
        authorization = self.headers.get("authorization", "")
        scheme, _, credentials = authorization.partition(":" if authorization.startswith("acs:") else " ")
        if not authorization:
            if not self.params:
                raise self.refuse("unsigned")
            return self.rpc()
        if scheme not in self.schemes:
            raise self.refuse("malformed", authorization)
        check = {
            "ACS3-HMAC-SHA256": self.acs3,
            "SLS4-HMAC-SHA256": self.sls4,
            "LOG": self.sls1,
            "MNS": self.mns,
            "FC": self.fc1,
            "acs": self.acs1,
        }[scheme]
        return check(credentials)

    # The schemes -----------------------------------------------------------------------------------------------------

    def acs3(self, credentials: str) -> Caller:
        fields = dict(part.strip().partition("=")[::2] for part in credentials.split(","))
        signed = fields.get("SignedHeaders", "").split(";")
        must = {"host", *(name for name in self.headers if name.startswith("x-acs-"))}
        if not must <= set(signed) or not fields.get("Credential") or not fields.get("Signature"):
            raise self.refuse("malformed")
        digest = self.headers.get("x-acs-content-sha256", "")
        if digest != hashlib.sha256(self.request.body).hexdigest():
            raise self.refuse("digest")
        canonical = "\n".join(
            [
                self.request.method,
                self.request.path,
                "&".join(f"{name}={quote(value, safe='~')}" for name, value in sorted(pairs(self.request.query))),
                *(f"{name}:{self.headers.get(name, '').strip()}" for name in signed),
                "",
                ";".join(signed),
                digest,
            ]
        )
        text = "ACS3-HMAC-SHA256\n" + hashlib.sha256(canonical.encode()).hexdigest()
        key = self.key(fields["Credential"], self.headers.get("x-acs-security-token"))
        self.compare(fields["Signature"], _hmac(key.secret, text, "sha256").hex(), text)
        self.fresh(self.headers.get("x-acs-date", ""), "%Y-%m-%dT%H:%M:%SZ")
        caller = self.holder(key, self.headers.get("x-acs-security-token"))
        self.once(key, self.headers.get("x-acs-signature-nonce", ""))
        return caller

    def rpc(self) -> Caller:
        params = self.params
        for name in ("AccessKeyId", "Signature", "SignatureMethod", "SignatureVersion", "SignatureNonce", "Timestamp"):
            if not params.get(name):
                raise self.refuse("missing", name)
        digest = {"HMAC-SHA1": "sha1", "HMAC-SHA256": "sha256"}.get(params["SignatureMethod"])
        if digest is None:
            raise self.refuse("method")
        if params["SignatureVersion"] != "1.0":
            raise self.refuse("version")
        query = "&".join(
            f"{quote(name, safe='~')}={quote(value, safe='~')}"
            for name, value in sorted(params.items())
            if name != "Signature"
        )
        text = f"{self.request.method}&%2F&{quote(query, safe='~')}"
        key = self.key(params["AccessKeyId"], params.get("SecurityToken"))
        self.compare(params["Signature"], _base64_hmac(key.secret + "&", text, digest), text)
        self.fresh(params["Timestamp"], "%Y-%m-%dT%H:%M:%SZ")
        caller = self.holder(key, params.get("SecurityToken"))
        self.once(key, params["SignatureNonce"])
        return caller

    def sls1(self, credentials: str) -> Caller:
        method = self.headers.get("x-log-signaturemethod", "hmac-sha1")
        digest = {"hmac-sha1": "sha1", "hmac-sha256": "sha256"}.get(method)
        if digest is None:
            raise self.refuse("method", method)
        query = "&".join(f"{name}={value}" for name, value in sorted(pairs(self.request.query)))
        # The Python client adds x-log-date after it has signed [src aliyun.log.auth].
        signed = [pair for pair in self.sls_headers() if pair[0] != "x-log-date"]
        return self.dated(credentials, digest, signed, unquote(self.request.path) + (f"?{query}" if query else ""))

    def sls4(self, credentials: str) -> Caller:
        match = re.fullmatch(
            r"Credential=([^/,]+)/((\d{8})/([^/,]*)/sls/aliyun_v4_request),\s*Signature=([0-9a-f]+)", credentials
        )
        if match is None:
            raise self.refuse("malformed", credentials)
        access_key_id, scope, date, region, signature = match.groups()
        digest = self.headers.get("x-log-content-sha256", "")
        if digest != hashlib.sha256(self.request.body).hexdigest():
            raise self.refuse("digest")
        query = [(name, quote(value, safe="~")) for name, value in sorted(pairs(self.request.query))]
        signed = sorted([*self.sls_headers(), *self.headers_with(("content-type", "host"))])
        canonical = "\n".join(
            [
                self.request.method,
                unquote(self.request.path),
                "&".join(f"{name}={value}" if value else name for name, value in query),
                *(f"{name}:{value}" for name, value in signed),
                "",
                ";".join(name for name, _ in signed),
                digest,
            ]
        )
        when = self.headers.get("x-log-date", "")
        text = f"SLS4-HMAC-SHA256\n{when}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
        key = self.key(access_key_id, self.headers.get("x-acs-security-token"))
        secret = ("aliyun_v4" + key.secret).encode()
        for part in (date, region, "sls", "aliyun_v4_request"):
            secret = hmac.new(secret, part.encode(), hashlib.sha256).digest()
        self.compare(signature, hmac.new(secret, text.encode(), hashlib.sha256).hexdigest(), text)
        self.fresh(when, "%Y%m%dT%H%M%SZ")
        return self.holder(key, self.headers.get("x-acs-security-token"))

    def mns(self, credentials: str) -> Caller:
        md5 = hashlib.md5(self.request.body, usedforsecurity=False)
        # The Python client sends base64 of the hex digest, other clients base64 of the digest [run].
        digests = (b64encode(md5.hexdigest().encode()).decode(), b64encode(md5.digest()).decode())
        if self.request.body and self.headers.get("content-md5", digests[0]) not in digests:
            raise self.refuse("digest")
        return self.dated(credentials, "sha1", self.headers_with(("x-mns-",)), self.target(), "security-token")

    def fc1(self, credentials: str) -> Caller:
        return self.dated(
            credentials, "sha256", self.headers_with(("x-fc-",)), unquote(self.request.path), "x-fc-security-token"
        )

    def acs1(self, credentials: str) -> Caller:
        return self.dated(credentials, "sha1", self.headers_with(("x-acs-",)), self.target())

    # Shared parts ----------------------------------------------------------------------------------------------------

    def target(self) -> str:
        return self.request.path + (f"?{self.request.query}" if self.request.query else "")

    def dated(
        self,
        credentials: str,
        digest: str,
        signed: list[tuple[str, str]],
        target: str,
        header: str = "x-acs-security-token",
    ) -> Caller:
        """The older schemes: a key and a signature over method, three headers, the service's own headers and the
        target."""
        access_key_id, _, signature = credentials.partition(":")
        if not (access_key_id and signature):
            raise self.refuse("malformed", credentials)
        heads = [self.headers.get(name, "") for name in ("content-md5", "content-type", "date")]
        text = "\n".join([self.request.method, *heads, *(f"{name}:{value}" for name, value in signed), target])
        key = self.key(access_key_id, self.headers.get(header))
        self.compare(signature, _base64_hmac(key.secret, text, digest), text)
        self.fresh(heads[-1], "%a, %d %b %Y %H:%M:%S GMT")
        return self.holder(key, self.headers.get(header))

    def headers_with(self, prefixes: tuple[str, ...]) -> list[tuple[str, str]]:
        return sorted((name, value.strip()) for name, value in self.headers.items() if name.startswith(prefixes))

    def sls_headers(self) -> list[tuple[str, str]]:
        return [pair for pair in self.headers_with(("x-log-", "x-acs-")) if not pair[0].startswith("x-log-meta-")]

    def key(self, access_key_id: str, token: str | None) -> Key:
        key = self.identity.keys.get(access_key_id)
        if key is None:
            raise self.refuse("key", access_key_id)
        if key.token is not None and token is None:
            raise self.refuse("no token")
        return key

    def holder(self, key: Key, token: str | None) -> Caller:
        """The key's holder, after checking that the token belongs to the key and has not expired."""
        if token is not None and token != key.token:
            is_issued = any(issued_key.token == token for issued_key in list(self.identity.keys.values()))
            raise self.refuse("foreign token" if is_issued else "token")
        if key.expires is not None and key.expires <= self.now:
            raise self.refuse("expired")
        return key.caller

    def compare(self, theirs: str, ours: str, text: str) -> None:
        if not hmac.compare_digest(theirs.encode(), ours.encode()):
            raise self.refuse("signature", text)

    def fresh(self, text: str, form: str) -> None:
        try:
            when = _seconds(text, form)
        except ValueError:
            raise self.refuse("date", text) from None
        if abs(when - time.time()) > MAX_SKEW_SECONDS:
            raise self.refuse("skew", text)

    def once(self, key: Key, nonce: str) -> None:
        """Called last, so that a request that is refused for another reason does not use up its nonce."""
        if not nonce:
            raise self.refuse("missing", "SignatureNonce")
        if not self.identity.nonces.use(key.access_key_id, nonce, time.time()):
            raise self.refuse("nonce")


@lru_cache(maxsize=16)
def _seconds(text: str, form: str) -> float:
    """A date as seconds. Calls of one second have the same, and reading one takes longer than checking a signature."""
    return datetime.strptime(text, form).replace(tzinfo=timezone.utc).timestamp()


def _hmac(secret: str, text: str, digest: str) -> bytes:
    return hmac.new(secret.encode(), text.encode(), digest).digest()


def _base64_hmac(secret: str, text: str, digest: str) -> str:
    return b64encode(_hmac(secret, text, digest)).decode()
