"""The one verdict on a link, which plan, tests, advice, adoption and the look right before a write all read. Pure.

tag of an instance  ─┐
request             ─┼─▶ desired link (a link and a claim) ─▶ judge ─▶ Answer: the rules it needs, or a denial
claims on our rules ─┘

| denial by …     | decided by                                                                              | in              |
|-----------------|-----------------------------------------------------------------------------------------|-----------------|
| the policy      | its accounts, ports and limits                                                          | `single_link`   |
| access          | an account that refuses it, or could not be read                                        | `acceptance`    |
| what a party is | it exists, in a VPC, in a group that takes rules; two groups in one VPC                 | `single_link`   |
| a refusal       | the tags of all groups of either end                                                    | `acceptance`    |
| a lock          | the tags of the groups that hold the rules                                              | `acceptance`    |
| consent         | the tags of those groups, and the policy                                                | `acceptance`    |
| the address     | private, in the account's ranges, and in the target's VPC nobody else's                 | `single_link`   |
| another holder  | the markers of the rules that stand: two instances with one address cannot share a rule | `holders`       |
| room            | the limits of a group, and of a rule's description                                      | `planning.room` |

`permitted` asks all but the last two. A rule that stands takes its room already, so that a full group closes nothing: a
plan asks for room last, when it knows what it removes. `evaluate` asks all, right before a write.

`judge` (`answers`) answers all desired links of a plan together. Nothing here depends on the order in which links,
groups or instances are given.
"""  # noqa: W505
