"""Who used which rule, as flow logs tell: what `tighten` proposes, and what `links --unused` says, from one reader."""
