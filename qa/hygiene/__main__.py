"""`python -m qa.hygiene`: the proof on the cluster of this chamber; exit code 1 when a secret was found."""

import sys
import tempfile
from pathlib import Path

from qa.lab.cluster import Cluster

from .proof import prove


def main() -> int:
    """Tell what was searched, and what was found."""
    with tempfile.TemporaryDirectory() as folder:
        results = prove(Path(folder), Cluster.current())
    for one in results:
        sys.stdout.write(f"{one}\n")
    return 1 if any(one.leaks for one in results) else 0


if __name__ == "__main__":
    sys.exit(main())
