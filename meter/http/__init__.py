"""Speaking HTTP: listener, connections, bodies, and how a problem looks."""
