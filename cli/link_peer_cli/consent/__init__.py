"""Consent and requests as tags: the entries of a tag, and the tags of groups."""
