"""Values without I/O: money, time, ids, strict JSON, problems, and the schema of a policy."""
