"""All formats that have vectors, in the order in which a reader meets them."""

from tests.vectors import (
    batch,
    canonical,
    checkpoint,
    consistency,
    cosignature,
    entry,
    envelope,
    inclusion,
    key,
    note,
    proof,
    receipt,
    tree,
)
from tests.vectors.vector import Format

_WIRE = (envelope, batch, receipt)
_LEDGER = (canonical, entry, tree, inclusion, consistency)
_SIGNED = (key, note, checkpoint, cosignature, proof)


def formats() -> list[Format]:
    return [module.vectors() for module in (*_WIRE, *_LEDGER, *_SIGNED)]
