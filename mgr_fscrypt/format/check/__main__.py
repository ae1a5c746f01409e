"""The command: exit 0 if all values are as computed, 1 if some differ, 2 if a file cannot be checked at all."""

import argparse
import sys
from pathlib import Path

from .cephfs import check_cephfs
from .ext4 import check_ext4
from .fields import FieldError, Record
from .files import load_vectors
from .tally import Tally


def main(arguments: list[str] | None = None) -> int:
    """Check the files that the arguments name."""
    parser = argparse.ArgumentParser(
        prog="mgr_fscrypt.format.check", description="replay fscrypt vector files in both directions"
    )
    parser.add_argument(
        "files", metavar="FILE", nargs="+", type=Path, help="JSON, also compressed (.gz, .xz)"
    )
    given = parser.parse_args(arguments)
    tally = Tally()
    for path in given.files:
        try:
            vectors = Record(load_vectors(path), path.name)
            check = {"cases": check_ext4, "runs": check_cephfs}.get(vectors.one_of("cases", "runs"))
        except FieldError as error:
            print(
                f"{error}\nnothing was checked; give vector files of the ext4 or CephFS shape",
                file=sys.stderr,
            )
            return 2
        if check is not None:
            check(vectors, tally)
    for line in tally.lines:
        print(line)
    for line, count in sorted(tally.notes.items()):
        print(f"note: {line}: {count}")
    print(f"{tally.values} values, {tally.differ} differ")
    return 1 if tally.differ else 0


if __name__ == "__main__":
    sys.exit(main())
