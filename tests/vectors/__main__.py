"""Write the vectors of every format: `python -m tests.vectors`, or `make vectors`."""

import sys

from tests.vectors.formats import formats


def main() -> None:
    for each in formats():
        each.path.write_bytes(each.encode())
        good = sum(vector.code is None for vector in each.vectors)
        bad = len(each.vectors) - good
        sys.stdout.write(f"{each.path.name:20} {good:3} good {bad:3} bad\n")


if __name__ == "__main__":
    main()
