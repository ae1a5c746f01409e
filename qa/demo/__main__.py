"""`python -m qa.demo [TREE]` in a chamber: put a real tree into an encrypted subtree; show what everybody sees."""

import argparse
import sys
from pathlib import Path

from .living import show_pages
from .story import tell

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m qa.demo")
    parser.add_argument(
        "tree", nargs="?", type=Path, help="what goes in (default: the system's Python library)"
    )
    parser.add_argument(
        "--live",
        action="store_true",
        help="make keys, subtrees and a client to look at, and tell where the pages are",
    )
    options = parser.parse_args()
    sys.exit(show_pages() if options.live else tell(options.tree))
