"""A witness: it cosigns the checkpoints of logs that only grow."""
