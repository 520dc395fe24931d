"""ECS of the local cloud: instances, security groups, tags, events, and whether packets would get through."""

from aliyun_local.ecs.backend import EcsBackend
from aliyun_local.ecs.reach import Verdict, may_reach

__all__ = ["EcsBackend", "Verdict", "may_reach"]
