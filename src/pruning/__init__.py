"""Pruning: importance of channels, removal of channels or single weights, sensitivity of layers."""
