"""Ready-made experiment configs (TOML)."""
