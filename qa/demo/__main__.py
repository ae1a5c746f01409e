"""`python -m qa.demo [TREE]` in a chamber: put a real tree into an encrypted subtree; show what everybody sees."""

import argparse
import sys
from pathlib import Path

from .story import tell

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m qa.demo")
    parser.add_argument(
        "tree", nargs="?", type=Path, help="what goes in (default: the system's Python library)"
    )
    sys.exit(tell(parser.parse_args().tree))
