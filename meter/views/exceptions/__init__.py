"""Exceptions: what an auditor looks at, one rule a file; `table.py` lists them."""
