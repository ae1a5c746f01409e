"""`python -m qa.hygiene [managed]`: the proof on the cluster of this chamber; exit code 1 when a secret was found.

`managed`: the flows with a key manager, which need the environment that has one.
"""

import sys
import tempfile
from pathlib import Path

from qa.lab.cluster import Cluster

from .forms import Searched
from .proof import prove


def main() -> int:
    """Tell what was searched, and what was found."""
    with tempfile.TemporaryDirectory() as folder:
        results = (
            _managed(Path(folder)) if sys.argv[1:] == ["managed"] else prove(Path(folder), Cluster.current())
        )
    for one in results:
        sys.stdout.write(f"{one}\n")
    return 1 if any(one.leaks for one in results) else 0


def _managed(folder: Path) -> list[Searched]:
    # only the environment with OpenBao has its library
    from qa.kms.bao import Bao

    from .managed import prove_managed

    with tempfile.TemporaryDirectory() as server:
        bao = Bao(Path(server))
        try:
            return prove_managed(folder, Cluster.current(), bao)
        finally:
            bao.stop()


if __name__ == "__main__":
    sys.exit(main())
