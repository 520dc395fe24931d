"""The functions of s.yaml on a local cloud, with the names of its world."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

from aliyun_local.api import (
    Function,
    InProcessRuntime,
    LocalCloud,
    Runtime,
    Trigger,
    Triggers,
    WorkerRuntime,
    install_functions,
)
from link_peer_deploy import manifest
from link_peer_deploy.names import VERSION_FILE
from link_peer_deploy.project import CODE, ROOT
from msgspec.structs import asdict

from link_peer_cli.demo.deployment import DeploymentWorld, deployment_of


def deploy(cloud: LocalCloud, *, in_process: bool = False, connected: bool = True) -> Triggers:
    """Deploy the project's s.yaml on a cloud that has loaded a world (`link_peer_cli.demo.world.load`), with its names.

    Functions run in worker processes that call the cloud at `cloud.endpoint`, so serve it first; `in_process` is for
    tests on a virtual clock. Then `start` the triggers or `drain` them. Without `connected`, functions can be invoked,
    but no event, message or timer calls them.
    """
    world = deployment_of(cloud)
    names = {"LINK_PEER_REGION": cloud.region, "LINK_PEER_PREFIX": world.prefix}
    env = {"LINK_PEER_POLICY": world.policy, **cloud.variables}
    runtime: Runtime = WorkerRuntime(CODE, env)
    if in_process:
        runtime = process = InProcessRuntime(cloud.clock, CODE, env)
        process.knobs = cloud.knobs
    shipped = manifest.load(ROOT / "s.yaml", env=names, account=world.home, queues=world.queues)
    functions = [_in_world(function, world, connected=connected) for function in shipped.functions]
    triggers = install_functions(cloud, functions, world.home, runtime, world.fc_service)
    cloud.fc.package_files = {
        "policy.yaml": Path(world.policy).read_bytes,
        VERSION_FILE: lambda: version("link-peer").encode(),
    }
    return triggers


def _in_world(function: manifest.Function, world: DeploymentWorld, *, connected: bool) -> Function:
    """The function with the world's audit log; worlds name everything else as s.yaml does. What is not `connected` has
    neither triggers nor a queue of the functions' own: a sweep then is of all accounts."""
    env = {
        **function.env,
        "LINK_PEER_AUDIT_PROJECT": world.audit_project,
        "LINK_PEER_AUDIT_LOGSTORE": world.audit_logstore,
    }
    if not connected:
        env.pop("LINK_PEER_SWEEP_QUEUE", None)
    triggers = tuple(Trigger(**asdict(trigger)) for trigger in function.triggers) if connected else ()
    changed = {"env": env, "log_project": world.audit_project, "triggers": triggers}
    return Function(**{**asdict(function), **changed})
