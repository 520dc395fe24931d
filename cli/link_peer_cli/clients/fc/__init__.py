"""Function Compute, in both of its generations."""
