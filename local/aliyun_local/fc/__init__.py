"""Function Compute of the local cloud: functions, their triggers, and where they run."""
