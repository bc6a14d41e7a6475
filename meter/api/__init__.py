"""JSON over HTTP: every route, what it takes and what it answers."""
