"""Who can reach a party: `who`."""

from __future__ import annotations

from typing import Annotated

from msgspec import UNSET, UnsetType

from link_peer_cli.answers import means
from link_peer_cli.answers.links import Ends


class Reacher(Ends, frozen=True):
    """A source that can reach a party, as the rules of the party's groups say. `from` is a group, or an instance with an address
    that a rule names, else that address; empty where something was not read."""

    address: Annotated[str, means("the range of addresses, or the prefix list, that the rule names")]
    ports: Annotated[str, means("`tcp/3306`, or `all`; empty for a port list, and where nothing was read")]
    state: Annotated[
        str,
        means(
            "`open`, `partly`, `blocked` or `unknown`, on the ports in question; of a link also `closing` or `half-open`, as "
            "`links` has it"
        ),
    ]
    state_detail: Annotated[str, means("what decides that")]
    by: Annotated[
        str,
        means(
            "`link-peer` or `a person`, whose rule it is; `members`, whom InnerAccessPolicy lets in without one; empty if it "
            "was not read"
        ),
    ]
    rule_id: Annotated[str, means("the rule; empty for members of a group")]
    group: Annotated[str, means("the group that has the rule")]
    instances: Annotated[int | None, means("how many instances the source has; null if that is not known")]
    since: Annotated[str, means("when the rule was made")]
    until: Annotated[str, means("when the link ends at the earliest; empty if it is open-ended, and for other rules")]
    claims: Annotated[list[str], means("what holds the link: `tag`, or the ids of requests")]
    asked_by: Annotated[list[str], means("who asked for it")]
    consent: Annotated[list[str], means("the entries that allow it")]
    consented_by: Annotated[list[str], means("who wrote each of these entries, as `links` has it")]
    description: Annotated[str, means("what a person wrote of the rule")]
    use: Annotated[str | UnsetType, means("of a link, whether it was used, as `links` has it")] = UNSET
    last_used: Annotated[str | UnsetType, means("of a link, when it was last used, as `links` has it")] = UNSET
