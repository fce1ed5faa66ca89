"""Faults injected into a small project: kills, a tracking server that fails, a full disk, several processes at once."""
