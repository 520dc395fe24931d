"""Function Compute of the local cloud: functions of an s.yaml, their triggers, and where they run."""
