"""The program ``cephfs-fscrypt``, and its word on a host that lacks what is not ours to bring.

Ceph's bindings are no package of the registry that pip asks: they come from Ceph, for one Python and one release.
"""

import sys
from importlib.util import find_spec

from .outcome import Exit, Failure
from .report import Reporter

_BINDINGS = (
    "install Ceph's `python3-rados` and `python3-cephfs`, of the cluster's release, with the package manager; a "
    "virtual environment sees them if `python3 -m venv --system-site-packages` made it, by the Python they are for"
)
_NEXT = {
    "rados": _BINDINGS,
    "cephfs": _BINDINGS,
    "cryptography": "install `python3-cryptography` with the package manager, or `pip install cryptography`",
}


def main() -> int:
    """Run the program; give its exit code, `Exit.UNREACHABLE` where what it reaches a cluster with is not here."""
    try:
        from .commands import main as commands
    except ImportError as error:
        culprit = (error.name or "").partition(".")[0]
        if culprit not in _NEXT:
            raise
        missing = [name for name in _NEXT if name == culprit or find_spec(name) is None]
        what = f"this host lacks the Python module {', '.join(f'`{name}`' for name in missing)} ({error})"
        # nothing has looked at the options yet
        reporter = Reporter(as_json="--json" in sys.argv[1:])
        remedy = "; ".join(dict.fromkeys(_NEXT[name] for name in missing))
        reporter.failure(Failure(Exit.UNREACHABLE, what, remedy=remedy))
        return Exit.UNREACHABLE
    return commands()


if __name__ == "__main__":
    sys.exit(main())
