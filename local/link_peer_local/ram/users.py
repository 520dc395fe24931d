"""Users and their access keys."""

from __future__ import annotations

from link_peer_local.core.clock import utc
from link_peer_local.core.errors import ApiError
from link_peer_local.core.principals import User
from link_peer_local.ram import params as given
from link_peer_local.ram.call import Answer, Call, paging, shown_user

MAX_KEYS = 2


def create_user(call: Call) -> Answer:
    """Create a user without rights."""
    name = given.name_in(call.params, "UserName")
    display = given.description(call.params, "DisplayName", 128) or name
    user = User(call.account, name, display, given.description(call.params, "Comments", 128), created=call.now)
    if user.arn in call.identity.users:
        raise ApiError("EntityAlreadyExists.User", 409, "The user does already EXIST.")
    call.identity.users[user.arn] = user
    return {"User": shown_user(user)}


def get_user(call: Call) -> Answer:
    """One user."""
    return {"User": shown_user(call.user())}


def list_users(call: Call) -> Answer:
    """The users of the account, by name."""
    known = {user.name: user for user in call.identity.users.values() if user.account == call.account}
    names, marker = given.page(call.params, list(known))
    return {**paging(marker), "Users": {"User": [shown_user(known[name]) for name in names]}}


def delete_user(call: Call) -> Answer:
    """Delete a user who has neither keys nor policies."""
    user = call.user()
    if user.keys:
        message = "The user CAN NOT has any access key while deleting the user."
        raise ApiError("DeleteConflict.User.AccessKey", 409, message)
    if user.attached:
        message = "The user CAN NOT has any attached policy while deleting the user."
        raise ApiError("DeleteConflict.User.Policy", 409, message)
    del call.identity.users[user.arn]
    return {}


def create_access_key(call: Call) -> Answer:
    """Create an access key of a user; its secret is shown only here."""
    user = call.user()
    if len(user.keys) >= MAX_KEYS:
        message = "The access key count of the user access keys beyond the current limits."
        raise ApiError("LimitExceeded.User.AccessKey", 409, message)
    key = call.identity.add_key(user, call.now)
    return {
        "AccessKey": {
            "AccessKeyId": key.access_key_id,
            "AccessKeySecret": key.secret,
            "Status": "Active",
            "CreateDate": utc(call.now),
        }
    }


def list_access_keys(call: Call) -> Answer:
    """The access keys of a user, without their secrets."""
    user = call.user()
    rows = [{"AccessKeyId": key, "Status": "Active", "CreateDate": utc(at)} for key, at in user.keys.items()]
    return {"AccessKeys": {"AccessKey": rows}}


def delete_access_key(call: Call) -> Answer:
    """Delete an access key; it is refused from then on."""
    user = call.user()
    key = given.require(call.params, "UserAccessKeyId")
    if key not in user.keys:
        raise ApiError("EntityNotExist.User.AccessKey", 404, "The user access key does not exist.")
    del user.keys[key], call.identity.keys[key]
    return {}
