"""Closing what stands: the locks on groups, and the run that removes their rules."""
