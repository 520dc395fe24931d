"""The rows that decide the first day: what makes either answer work, and what public evidence there is of one."""

from __future__ import annotations

import msgspec


class FirstDay(msgspec.Struct, frozen=True):
    """What is known of one row. `knob` is that of the local cloud under whose readings the tests pass; empty where the local
    cloud cannot give both answers. `either` says why neither matters; `dated` is the day of the evidence (YYYY-MM, or with
    a day), or on which there was none."""

    number: int
    knob: str
    either: str
    evidence: str
    dated: str


FIRST_DAY = (
    FirstDay(
        30,
        "request_tags",
        "a link is made whether or not its group may be tagged: the marker says whose a rule is. Without tags the sweep looks at as many groups as it may, and the record and the summary say so",
        "[RAM's table of ECS](https://www.alibabacloud.com/help/en/doc-detail/25497.html) lists no condition key for TagResources; a how-to of RAM uses one",
        "2026-11-28",
    ),
    FirstDay(
        52,
        "request_tags",
        "as #30; a tag that cannot be taken off stays, and no account counts as refused for it",
        "none for UntagResources; the table lists no key",
        "2026-11-28",
    ),
    FirstDay(
        53,
        "interface_address",
        "both ways are asked, so that a first and another address are found. In a shared VPC whose owner is not shown the interface of another account, its address is not found: [guarantees](guarantees.md)",
        "`PrivateIpAddress.N` is `secondary` in comments of the SDK 7.11.8; terway and cloud-provider-alibaba-cloud find any address by it",
        "2026-11-28",
    ),
    FirstDay(
        132,
        "",
        "`link-peer setup` makes the roles, fc3 those of its triggers; a `bare` world of the local cloud delivers nothing without them",
        "[service-linked roles](https://www.alibabacloud.com/help/en/eventbridge/service-linked-roles); fc3 0.1.22, `src/base.ts`",
        "2026-03",
    ),
    FirstDay(
        82,
        "",
        "the two triggers set none: EventBridge has delivered once the call is queued, and auto_link's own configuration retries and dead-letters",
        "fc3's own example on this source has no runOptions; the provider's tests have some without a queue",
        "2026-11-28",
    ),
    FirstDay(
        43,
        "destination_account",
        "both ARNs name the account, which no source refuses",
        "FC's API page and fc3's example have the uid; samples of asynchronous calls do without",
        "2026-11-28",
    ),
    FirstDay(
        57,
        "queue_subject",
        "both spellings prove the queue",
        "EventBridge's sample of an MNS event: `queues/`; MNS's resources in RAM: `/queues/`",
        "2026-04",
    ),
    FirstDay(
        36,
        "state_content",
        "the pattern names no state, since no page documents an alternative between two keys; the function reads both forms, and leaves other states out before it makes a call",
        "aliyun/ecs-labs, interruption notice: `data`; a third party's receiver reads both",
        "2026-11-26",
    ),
    FirstDay(
        84,
        "environment_keys",
        "with expired keys a function ends its process; Function Compute delivers again, to an instance with new ones. The same for #46",
        "[retries](https://www.alibabacloud.com/help/en/functioncompute/fc/error-handling-1-2) of UnhandledInvocationError; no page says how long keys of the environment live",
        "2026-04-01",
    ),
    FirstDay(
        109,
        "trusts_anyone",
        "home first: `link-peer setup`, then `link-peer account add`. A template that comes before home is refused as a whole and can be tried again",
        "none; other clouds refuse it",
        "2026-11-28",
    ),
    FirstDay(
        98,
        "",
        "the query takes either field, and no metric of CloudMonitor is used. Without the alert, `link-peer-no-sweep` fires when a function fails for long",
        "a field table of FC's request logs",
        "2026-11-28",
    ),
    FirstDay(
        4,
        "",
        "refused, an instance link is denied with ECS's code, on both sides or neither, and links between groups go on",
        "issue 7732 of aliyun/terraform-provider-alicloud: supported in console and SDK",
        "2024-10",
    ),
    FirstDay(
        40,
        "",
        "where fc3 refuses the triggers, `event_rules` of deploy/terraform makes the same rules",
        "fc3's e2e test deploys such a trigger; [a help page](https://www.alibabacloud.com/help/en/functioncompute/fc/user-guide/configure-event-triggers) says that Serverless Devs cannot",
        "2025-10-01",
    ),
    FirstDay(
        101,
        "",
        "`setup` waits for a new project and says so after five minutes; a name that somebody has is refused when the project is created, whatever GetProject says",
        "CreateProject documents ProjectAlreadyExist; the delay, none",
        "2026-11-28",
    ),
    FirstDay(
        38,
        "trail_resources",
        "ids are read from every field that a page or sample has; an event that is late or never comes leaves the change to the sweep, within ten minutes",
        "[ActionTrail's events](https://www.alibabacloud.com/help/doc-detail/28821.htm): `referencedResources`, `resourceName` or `requestParameters`; the delay, none",
        "2026-11-28",
    ),
    FirstDay(
        59,
        "trail_resources",
        "as #38",
        "as #38",
        "2026-11-28",
    ),
    FirstDay(
        50,
        "",
        "`make package` runs the package on both runtimes' Python; `LINK_PEER_RUNTIME` chooses the other. A function that does not start changes nothing",
        "manylinux_2_28 needs GLIBC_2.28; [runtimes](https://www.alibabacloud.com/help/en/functioncompute/fc/runtime-environments): Debian 10 and 11",
        "2026-10-26",
    ),
)
"""In the order in which `link-peer selftest` answers them, before all others."""
