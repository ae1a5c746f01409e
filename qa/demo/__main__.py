"""`python -m qa.demo` in a chamber: put a real tree into an encrypted subtree and show what everybody sees."""

import sys

from .story import tell

if __name__ == "__main__":
    sys.exit(tell())
