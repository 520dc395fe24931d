"""How a rule that a person made becomes a link."""
