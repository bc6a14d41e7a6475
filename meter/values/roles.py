"""The roles of bearer tokens: who may ask for what.

authority    issues coupons and registers parties
auditor      reads all and changes nothing
provider     one provider: its batches, receipts and contracts
enterprise   one enterprise: its coupons, contracts and records
"""

from typing import Final, Literal

Role = Literal["authority", "auditor", "provider", "enterprise"]

# These may read the data of every provider and enterprise.
OFFICIALS: Final[tuple[Role, ...]] = ("authority", "auditor")
