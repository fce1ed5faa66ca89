"""Structured pruning: which channels go, and the surgery that C2f blocks need."""
