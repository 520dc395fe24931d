"""The audit log as commands read it, and ActionTrail beside it."""
