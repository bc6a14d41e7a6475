"""What a process needs: data folder, keys, tokens, clock, logs, metrics, PostgreSQL."""
