"""Which settings there are, of what type and range: one schema per stage and group; params.yaml meets conf/ here."""
