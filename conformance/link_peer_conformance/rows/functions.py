"""The runtime of Function Compute. Every row needs a deployed function."""

from __future__ import annotations

from link_peer_conformance.model import Section

section = Section("Functions")

section.by_hand(
    45,
    why="needs a deployed function",
    assumed="`PYTHONPATH=/code` takes precedence over the runtime's own, older SDKs",
    depends="the pinned SDKs are used",
    test="a test function `def handler(e, c): import alibabacloud_ecs20140526 as m; return m.__file__` in the package; `s invoke`",
    expected="a path below `/code`",
    cleanup="`s deploy -y`",
)
section.by_hand(
    46,
    why="needs a deployed function, and two days",
    assumed="The role's keys are in `context.credentials` on python3.10, and still fresh on old instances",
    depends="settings use the context, else the environment",
    test="a test function that returns `context.credentials` without the secret, on python3.10; `s invoke` now and after two days on an instance kept warm by a timer",
    expected="a security token both times, and two different access key ids",
    cleanup="`s deploy -y`",
)
section.by_hand(
    84,
    why="needs a deployed function, and two days",
    assumed="On python3.12 the role's keys are in the environment (`ALIBABA_CLOUD_ACCESS_KEY_ID` …), and are fresh on instances that live longer than a session",
    depends="settings use the context, else the environment; a function whose keys have expired ends its process, so that another instance is started",
    test="a test function that returns the names (not the values) of `ALIBABA_CLOUD_*`, whether `context.credentials` exists, and the access key id, on python3.12; `s invoke` now and after two days on an instance kept warm by a timer",
    expected="the three variables; the access key id of `context.credentials` if it exists is the environment's, both times",
    cleanup="`s deploy -y`",
)
section.by_hand(
    50,
    why="needs deployed functions",
    assumed="The package runs: manylinux_2_28 wheels on the runtime's Debian, unchecked bytecode",
    depends="`link-peer package`",
    test="`s deploy -y && s invoke` of each function, for python3.12 and with `LINK_PEER_RUNTIME=python3.10`; the first call's duration with and without `--uncompiled`",
    expected="no error; the compiled package starts in less time",
    cleanup="`s remove`",
)
section.by_hand(
    86,
    why="needs a deployed function",
    assumed="python3.12 runs on Debian 11 with glibc 2.31, python3.10 on Debian 10 with glibc 2.28",
    depends="the package's libraries need symbols up to GLIBC_2.28",
    test="a test function `def handler(e, c): import platform; return str(platform.libc_ver())` on each; `s invoke`",
    expected="2.31 and 2.28, or newer",
    cleanup="`s deploy -y`",
)
