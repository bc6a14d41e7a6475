"""JSON over HTTP: every route, its input and its output."""
