"""The rules, pure: entries, state, rating, capacity, and how a batch or a command is decided."""
