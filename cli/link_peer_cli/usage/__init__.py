"""Who used which rule, as flow logs tell, and what it could become: `tighten`."""
