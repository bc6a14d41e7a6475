"""Who may ask: the roles of bearer tokens.

authority    issues coupons and registers parties
auditor      reads all and changes nothing
provider     one provider: its batches, receipts and contracts
enterprise   one enterprise: its coupons, contracts and records
"""

from typing import Final, Literal

Role = Literal["authority", "auditor", "provider", "enterprise"]

# These see what is anybody's.
OFFICIALS: Final[tuple[Role, ...]] = ("authority", "auditor")
