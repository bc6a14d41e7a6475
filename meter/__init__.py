"""Everything about usage, contracts and coupons; the service is in `intake.py`."""

from ledger.sources import as_written_if_asked

as_written_if_asked(__path__)
