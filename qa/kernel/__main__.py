"""`python -m qa.kernel --result FILE [--seconds N]`: the witness on the cluster of this chamber, which listens at
`network.CLUSTER`. What differs is in the result."""

import argparse
import json
import os
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from qa.lab.cluster import Cluster
from qa.lab.report import Progress
from qa.load.program import done
from qa.load.seeds import seed

from . import intruder, long_names, machine, reading, taking, turns
from .guest import booted
from .place import Place
from .tally import Tally

_SECONDS = 180.0


def main() -> int:
    """Tell the story, and write down its result."""
    parser = argparse.ArgumentParser(prog="qa/run test --kernel")
    parser.add_argument("--result", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=_SECONDS, help="of work in turns")
    options = parser.parse_args()
    folder = Path("/cluster/kernel")
    folder.mkdir()
    tally = Tally()
    result = _versions() | _story(folder, tally, seed(), options.seconds) | tally.told()
    options.result.write_text(f"{json.dumps(result, indent=1)}\n")
    return 0


def _versions() -> dict[str, Any]:
    return {
        "kernel": machine.release(),
        "ceph": Cluster.current().ceph("--version").split()[2],
        "commit": os.environ.get("FSCRYPT_QA_COMMIT", "unknown"),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
    }


def _story(folder: Path, tally: Tally, chosen: int, seconds: float) -> dict[str, Any]:
    progress = Progress()
    key = folder / "key"
    done("key", "generate", key)
    with booted(folder) as guest:
        progress.say(f"Linux {machine.release()} is up")
        place = Place(Cluster.current(), guest, key)
        reading.kernel_reads(place, tally)
        progress.say("the kernel has read what the engine wrote")
        made = reading.kernel_writes(place, tally)
        progress.say("the engine has read what the kernel wrote")
        taking.take(place, tally, made)
        progress.say("subtrees of the kernel's were adopted, held and released")
        intruder.intrude(place, tally)
        progress.say("a kernel was in a subtree of engine mode")
        long_names.give(place, tally)
        progress.say("the engine has given long names through a kernel")
        place.mount()
        tally.compare("exit code of `cephfs-fscrypt unlock`", place.unlock()[0], 0)
        in_turns = turns.take_turns(place, tally, chosen, seconds)
        progress.say(f"the engine and the kernel did {in_turns.operations} operations in turns")
        believed = round(turns.belief(place), 2)
        return {"seed": chosen, "in_turns": asdict(in_turns), "names_believed_for_s": believed}


if __name__ == "__main__":
    sys.exit(main())
