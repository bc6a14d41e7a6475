"""A double-entry ledger that anyone can verify offline. It does not know what it counts.

`canon` writes entries as bytes, `tlog` hashes them into a tree, `note` signs its size and root,
`book` keeps the balances, `log` drives the four for one writer. `bundle`, `tiles` and `folder` lay
entries out as files, and `verify` proves such a folder and replays it.
"""

from ledger.sources import as_written_if_asked

as_written_if_asked(__path__)
