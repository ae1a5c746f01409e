"""Write the overview page from what the commands answer: see the help below."""

import argparse
import json
import sys
from pathlib import Path

from mgr_fscrypt.control import Overview, SubtreePage

from .overview import overview_page

EXAMPLE = """example:
  ceph fscrypt status --format json > status.json
  ceph fscrypt subtree ls --format json > subtrees.json
  python3 -m dashboard_ui status.json subtrees.json > overview.html
"""


def main(arguments: list[str] | None = None) -> int:
    """Print the page; give 0, or 2 when a file is not what a command answers."""
    parser = argparse.ArgumentParser(
        prog="python3 -m dashboard_ui",
        description="Write the overview page, an HTML document that stands alone, to standard output.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("status", type=Path, help="answer of `ceph fscrypt status --format json`")
    parser.add_argument("subtrees", type=Path, help="answer of `ceph fscrypt subtree ls --format json`")
    files = parser.parse_args(arguments)
    try:
        overview = Overview.restored(json.loads(files.status.read_text()))
        subtrees = SubtreePage.restored(json.loads(files.subtrees.read_text()))
    except OSError as error:
        parser.error(f"{error.filename}: {error.strerror}")
    except (ValueError, KeyError, TypeError) as error:
        parser.error(f"not the answers of the two commands, in this order: {error!r}")
    sys.stdout.write(overview_page(overview, subtrees))
    return 0


if __name__ == "__main__":
    sys.exit(main())
