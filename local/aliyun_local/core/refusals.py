"""What each service answers when it refuses a signature, by cause, or an account: (code, HTTP status, message).

`{0}` in a code or message stands for the string to sign, or for the value at fault.
"""

from __future__ import annotations

from collections.abc import Mapping

Refusals = Mapping[str, tuple[str, int, str]]
RPC: Refusals = {  # [doc "common error codes of the OpenAPI gateway"]
    "unsigned": ("MissingAccessKeyId", 400, "AccessKeyId is mandatory for this action."),
    "missing": ("Missing{0}", 400, "{0} is mandatory for this action."),
    "malformed": ("IncompleteSignature", 400, "The request signature does not conform to Aliyun standards."),
    "method": ("InvalidSignatureMethod", 400, "Specified signature method is not valid."),
    "version": ("InvalidSignatureVersion", 400, "Specified parameter SignatureVersion is not valid."),
    "nonce": ("SignatureNonceUsed", 400, "Specified signature nonce was used already."),
    "key": ("InvalidAccessKeyId.NotFound", 404, "Specified access key is not found."),
    "signature": (
        "SignatureDoesNotMatch",
        400,
        "Specified signature is not matched with our calculation. server string to sign is:{0}",
    ),
    "no token": ("MissingSecurityToken", 400, "SecurityToken is mandatory for this action."),
    "token": ("InvalidSecurityToken.Malformed", 400, "Specified SecurityToken is malformed."),
    "foreign token": (
        "InvalidSecurityToken.MismatchWithAccessKey",
        400,
        "Specified SecurityToken mismatch with the AccessKey.",
    ),
    "expired": ("InvalidSecurityToken.Expired", 400, "Specified SecurityToken is expired."),
    "date": ("InvalidTimeStamp.Format", 400, "Specified time stamp or date value is not well formatted."),
    "skew": ("InvalidTimeStamp.Expired", 400, "Specified time stamp or date value is expired."),
    "digest": ("InvalidParameter.ContentSHA256", 400, "The body does not have the specified x-acs-content-sha256."),
}
_TOKEN = ("no token", "token", "foreign token")
_SLS: Refusals = {  # [doc SLS error codes]
    "unsigned": ("Unauthorized", 401, "Authorization header is missing."),
    "malformed": ("ParameterInvalid", 400, "Http extend authorization : {0} is invalid."),
    "method": ("ParameterInvalid", 400, "Http extend x-log-signaturemethod : {0} is invalid."),
    "key": ("Unauthorized", 401, "AccessKeyId not found: {0}"),
    "signature": ("SignatureNotMatch", 401, "signature not match, server string to sign is:{0}"),
    **dict.fromkeys(_TOKEN, ("SecurityTokenInvalid", 401, "The security token you provided is invalid.")),
    "expired": ("SecurityTokenExpired", 401, "The security token you provided has expired."),
    "date": ("InvalidRequestTime", 400, "Request time {0} not follow RFC822 spec."),
    "skew": ("RequestTimeExpired", 400, "Request time {0} has been expired."),
    "digest": ("ParameterInvalid", 400, "The body does not have the specified x-log-content-sha256."),
}
_MNS: Refusals = {  # [doc MNS error codes; InvalidDegist is their spelling]
    "unsigned": ("MissingAuthorizationHeader", 400, "Authorization header is required."),
    "malformed": ("InvalidAuthorizationHeader", 400, "The Authorization header format is invalid."),
    "key": ("InvalidAccessKeyId", 403, "The AccessKey Id you provided is not exist."),
    "signature": (
        "SignatureDoesNotMatch",
        403,
        "The request signature we calculated does not match the signature you provided. server string to sign is:{0}",
    ),
    **dict.fromkeys(_TOKEN, ("InvalidSecurityToken", 403, "The security token you provided is invalid.")),
    "expired": ("SecurityTokenExpired", 403, "The security token you provided has expired."),
    "date": ("InvalidDateHeader", 400, "The Date header format is invalid."),
    "skew": ("TimeExpired", 408, "The http request you sent is expired."),
    "digest": ("InvalidDegist", 400, "The Content-MD5 you specified is invalid."),
}
_FC: Refusals = {
    **RPC,
    "unsigned": ("MissingRequiredHeader", 400, "missing required HTTP header Authorization"),
    "key": ("InvalidAccessKeyID", 403, "the access key ID {0} is not found"),
    "signature": ("SignatureNotMatch", 403, "signature does not match. server string to sign is:{0}"),
}
BY_SERVICE: Mapping[str, Refusals] = {"sls": _SLS, "mns": _MNS, "fc": _FC}

INACTIVE: Refusals = {
    # [issue Serverless-Devs 282]
    "fc": ("AccessDenied", 403, "FC service is not enabled for current user."),
    # [doc EventBridge error codes]
    "eventbridge": (
        "ServiceAccessDenied",
        403,
        "The OwnerId that your Access Key Id associated to has not enabled EventBridge Service.",
    ),
    # [issue funcraft 660; the code is that of a key which SLS does not know]
    "sls": ("Unauthorized", 401, "AccessKeyId is inactive."),
    # assumed: the error codes of MNS have none for it
    "mns": ("AccessDenied", 403, "The OwnerId that your Access Key Id associated to is forbidden for this operation."),
}
"""How a service refuses an account that has not activated it. ECS, STS and RAM need not be activated."""
