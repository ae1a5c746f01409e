"""``python3 -m mgr_fscrypt.format.build``: compile the accelerator for this machine and prove it."""

import argparse
import subprocess
import sys
from pathlib import Path

from .accelerator import DIRECTORY_VARIABLE, build_accelerator, directory, load_accelerator


def main(arguments: list[str] | None = None) -> int:
    """Build; 0 if the result passes its self-test, 1 if it could not be built or does not pass."""
    parser = argparse.ArgumentParser(prog="mgr_fscrypt.format.build", description=__doc__)
    parser.add_argument(
        "--directory", type=Path, help=f"where to put it (default: ${DIRECTORY_VARIABLE} or the cache)"
    )
    parser.add_argument("--compiler", default="cc")
    given = parser.parse_args(arguments)
    folder = given.directory or directory()
    try:
        path = build_accelerator(folder, given.compiler)
    except subprocess.CalledProcessError as error:
        print(
            f"{error.stderr}\nthe compiler refused; everything works without the accelerator", file=sys.stderr
        )
        return 1
    except OSError as error:
        print(f"not built: {error}; everything works without the accelerator", file=sys.stderr)
        return 1
    if load_accelerator(folder) is None:
        print(f"{path} was built but is not used: see the warning above", file=sys.stderr)
        return 1
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
