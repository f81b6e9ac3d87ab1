"""Ready-made runbooks (YAML)."""
