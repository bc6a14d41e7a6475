"""The kinds of entries, one file for each family; `table.py` lists them all.

How to add one: docs/adding-an-entry-kind.md.
"""
