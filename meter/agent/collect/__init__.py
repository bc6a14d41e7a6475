"""Collectors: what reads a scheduler. Each returns a `Reading`, and knows nothing of contracts."""
