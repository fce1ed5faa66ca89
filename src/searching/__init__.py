"""A search from a budget to a detector: candidates are timed untrained, then trained by successive halving."""
