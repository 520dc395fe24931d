"""ActionTrail of the local cloud: looking up the recorded write calls of ECS."""
