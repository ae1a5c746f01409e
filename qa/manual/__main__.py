"""Run the commands of the manual on the cluster of this chamber: `python3 -m qa.manual [PAGE...]`."""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from qa.lab.cluster import Cluster

from . import pages, session
from .clearing import cleared
from .pages import Page
from .stages import stage

PATIENCE = 600.0
"""Seconds for all commands of a page."""


def run(page: Page, cluster: Cluster) -> list[session.Ran]:
    """Run a page's commands, with what it needs around it, and put away what they made."""
    if not page.to_run():
        return []
    with (
        tempfile.TemporaryDirectory() as folder,
        cleared(cluster),
        stage(page.needs, Path(folder)) as variables,
    ):
        return list(session.run(page.to_run(), variables, PATIENCE))


def main(arguments: Sequence[str]) -> int:
    """Run all pages or some, and tell how each went; 1 if any did otherwise than it says."""
    parser = argparse.ArgumentParser(prog="python3 -m qa.manual", description=__doc__)
    parser.add_argument("page", nargs="*", help="as seen from the checkout; without: all of them")
    parser.add_argument("--record", type=Path, help="write what came of all of them here")
    options = parser.parse_args(arguments)
    cluster = Cluster.current()
    cluster.enable_module("fscrypt")
    found = [each for each in pages.every() if not options.page or each.name in options.page]
    told = [_told(page, cluster) for page in found]
    failed = [each for each in told if each["wrong"]]
    count = sum(each["run"] for each in told)
    left_out = sum(len(each["not_run"]) for each in told)
    sys.stdout.write(f"{count} commands of {len(told)} pages were run, {left_out} were not; ")
    sys.stdout.write(f"{len(failed)} pages did otherwise than they say\n")
    if options.record and not options.page:
        record = {
            "release": cluster.release,
            "commit": os.environ.get("FSCRYPT_QA_COMMIT", "unknown"),
            "commands": count,
            "not_run": left_out,
            "pages": told,
        }
        options.record.write_text(json.dumps(record, indent=1) + "\n")
    return 1 if failed else 0


def _told(page: Page, cluster: Cluster) -> dict[str, Any]:
    begun = time.monotonic()
    ran = run(page, cluster)
    wrong = [f"{page.name}:{each.command.line}: {each.wrong}" for each in ran if each.wrong]
    seconds = time.monotonic() - begun
    sys.stdout.write(f"{page.name}: {len(ran)} of {len(page.to_run())} commands, {seconds:.0f} s\n")
    for each in wrong:
        sys.stdout.write(f"{each}\n")
    sys.stdout.flush()
    return {
        "page": page.name,
        "digest": page.digest(),
        "needs": list(page.needs),
        "run": len(ran),
        "seconds": round(seconds, 1),
        "slowest": max((round(each.seconds, 1) for each in ran), default=0.0),
        "wrong": [each.splitlines()[0] for each in wrong],
        "not_run": [{"command": each.text, "reason": each.reason} for each in page.commands if each.reason],
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
