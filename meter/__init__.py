"""Everything about usage, contracts and coupons; the service is in `intake.py`."""
