"""Start the engine service: `python -m mgr_fscrypt.service --help`."""

import sys

from .program import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
