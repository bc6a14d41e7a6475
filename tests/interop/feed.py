"""Ask a witness as a foreign log does: by the client of `aics-witness`, which has no command.

python feed.py URL WITNESS-VKEY OLD-SIZE CHECKPOINT [HASH ...]

prints the cosignature, or ends with exit code 1 and the reason.
"""

import sys
from base64 import b64decode
from pathlib import Path

from aics_witness import FeederError, submit_checkpoint


def main(url: str, vkey: str, old: str, checkpoint: str, *hashes: str) -> None:
    proof = int(old), [b64decode(each) for each in hashes]
    try:
        line = submit_checkpoint(
            url, Path(checkpoint).read_bytes(), proof, witness_vkey=vkey, max_attempts=1
        )
    except FeederError as error:
        sys.exit(f"{type(error).__name__}: {error}")
    sys.stdout.write(line)


main(*sys.argv[1:])
