"""`python3 -m qa.package STEP ...` on that host; `qa/lab/package.py` installs, upgrades and removes around it."""

import argparse
import sys

from .steps import UnexpectedError, began, image, left, poor, rich, upgraded, wheel

_STEPS = {
    "begin": (began, "what is installed is RELEASE: use it"),
    "upgraded": (upgraded, "it is RELEASE by now: what was there goes on"),
    "poor": (poor, "an interpreter that lacks what the service needs: the doctor says so"),
    "rich": (rich, "an interpreter with libraries of key managers: the service runs by it"),
    "image": (image, "this is what is built by the Containerfile, of RELEASE"),
    "wheel": (wheel, "this is what the page on installing says of the wheel, of RELEASE"),
    "leave": (left, "nothing runs on any more"),
}


def main() -> int:
    """Do one step; 1 and what was not as it should be."""
    parser = argparse.ArgumentParser(prog="python3 -m qa.package")
    steps = parser.add_subparsers(required=True, metavar="STEP")
    for name, (step, what) in _STEPS.items():
        one = steps.add_parser(name, help=what)
        one.add_argument("about", help="a release, or the path of an interpreter")
        one.set_defaults(step=step)
    options = parser.parse_args()
    try:
        options.step(options.about)
    except UnexpectedError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
