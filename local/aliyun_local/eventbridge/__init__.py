"""EventBridge of the local cloud: the event bus, its rules and patterns, and streams from queues."""
