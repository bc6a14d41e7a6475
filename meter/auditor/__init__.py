"""The auditor's side: replay, independent sums, verdict, monitor, receipts."""
