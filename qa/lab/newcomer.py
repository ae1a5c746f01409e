"""`qa/run newcomer`: what the README says, done on hosts with nothing on them, and how long that takes.

Its commands are typed as they stand, by root, who needs no `sudo`. Counted is the time of the machine until the first
encrypted subtree is there, with all that is downloaded, and the time to read the README from its first word to the
command that makes it.
"""

import json
import os
import re
import shlex
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from itertools import pairwise

from qa.manual import pages
from qa.manual.pages import Command

from . import rootfs, tools
from .cache import Cache
from .installed import Host
from .releases import TENTACLE, Release
from .report import Progress
from .source import SOURCE, commit, copy_source
from .workplace import Workplace, enter

_README = "README.md"
_BAR = 600.0
"""Seconds, of reading and of the machine."""
_WORDS_A_SECOND = 200 / 60
_CHECKOUT = "root/cephfs-fscrypt"
_SETTINGS = "etc/apt/apt.conf.d/99mmdebstrap"
"""The lab's rootfs has apt leave out what is only recommended."""
_TYPED, _MAKES = "@@ typed", "$ cephfs-fscrypt subtree create "
_NEXT = (_TYPED, "$ ", "== ")
"""How a line begins that is typed, that is seen to make a subtree, and that tells of what follows."""
_SHOWN = re.compile(r"^([0-9.]+) (.*)$", re.MULTILINE)
_CLOCK = """
set -o pipefail
bash -c "$0" 2>&1 | while IFS= read -r line; do printf '%s %s\\n' "$EPOCHREALTIME" "$line"; done
"""
"""Runs a script, and says of each line that it shows when that was."""
_RECORD = SOURCE / "doc/results/newcomer.json"


@dataclass(frozen=True)
class Way:
    """A way of the README to a first encrypted subtree.

    Args:
        what: who goes it.
        heading: under which it stands.
        suite: of the host, a Debian with apt and nothing else.
        last: how the last one begins that is typed.
        cluster: there is one already, which the host has the configuration and a key of.
    """

    what: str
    heading: str
    suite: str
    last: str
    cluster: bool = False


_WAYS = (
    Way("who has no cluster", "See it, test it", "bookworm", "sudo qa/run demo"),
    Way("who has a cluster", "First use", TENTACLE.suite, "cephfs-fscrypt subtree release", cluster=True),
)


@dataclass(frozen=True)
class Gone:
    """How it went: times in seconds.

    Attributes:
        way: who goes it.
        suite: of the host.
        load: of the machine, when it began: how many processes wanted a processor in the minute before.
        words: to be read up to the command that makes the first encrypted subtree.
        reading: what that takes.
        machine: what the machine takes until it is there.
        seconds: both.
        commands: all that were typed, and what each took.
    """

    way: str
    suite: str
    load: float
    words: int
    reading: float
    machine: float
    seconds: float
    commands: tuple[tuple[str, float], ...]


def run(cache: Cache, progress: Progress) -> int:
    """Go all ways, and keep the record; 1 where one takes longer than ten minutes.

    Raises:
        StepError: a command of the README fails.
    """
    gone = [_go(way, cache, progress) for way in _WAYS]
    record = {"commit": commit(), "bar": _BAR, "ways": [asdict(each) for each in gone]}
    _RECORD.write_text(f"{json.dumps(record, indent=1)}\n")
    for each in gone:
        progress.say(
            f"{each.way}: {each.words} words are {each.reading:.0f} s, {each.machine:.0f} s of the machine: "
            f"the first encrypted subtree after {each.seconds:.0f} s (bar: {_BAR:.0f} s)"
        )
    progress.say(f"the record is {_RECORD.relative_to(SOURCE)}")
    return 1 if any(each.seconds > _BAR for each in gone) else 0


def _go(way: Way, cache: Cache, progress: Progress) -> Gone:
    commands = pages.under(way.heading, _README)
    last = next(number for number, each in enumerate(commands) if each.text.startswith(way.last))
    commands = commands[: last + 1]
    nothing = Release("newcomer", TENTACLE.version, way.suite, ("ca-certificates",))
    with copy_source(cache, "newcomer") as source, ExitStack() as running:
        host = Host.of(rootfs.obtain(nothing, cache, progress), source.parent)
        settings = host.root / _SETTINGS
        lines = settings.read_text().splitlines(keepends=True)
        settings.write_text("".join(line for line in lines if "Recommends" not in line))
        subprocess.run(["git", "clone", "--quiet", str(SOURCE), str(host.root / _CHECKOUT)], check=True)
        if way.cluster:
            folder = source.parent / TENTACLE.name
            cluster = enter(TENTACLE, folder, cache, progress, source=source, environments=(tools.USUAL,))
            place = running.enter_context(cluster)
            place.boot()
            _reach(place, host)
        progress.say(f"{way.what}: a bare Debian {way.suite}, and what the README says")
        load = os.getloadavg()[0]
        script = "\n".join(_script(commands))
        said = host.fetch(f"the README for {way.what}", "bash", "-c", _CLOCK, script, HOME="/root")
    return _told(way, load, commands, [(float(at), line) for at, line in _SHOWN.findall(said)])


def _script(commands: Sequence[Command]) -> Iterator[str]:
    """The commands, typed in the checkout up to one that ends otherwise than the README says."""
    yield f"cd /{_CHECKOUT}"
    for each in commands:
        yield f"echo '{_TYPED}'; echo {shlex.quote(f'$ {each.text}')}"
        yield f"{{\n{each.text.replace('sudo ', '')}\n}}"
        yield f"[ $? = {each.code} ] || exit 1"
    yield f"echo '{_TYPED}'"


def _told(way: Way, load: float, commands: Sequence[Command], lines: Sequence[tuple[float, str]]) -> Gone:
    begun = [at for at, line in lines if line == _TYPED]
    makes = next(number for number, (_, line) in enumerate(lines) if line.startswith(_MAKES))
    made = next(at for at, line in lines[makes + 1 :] if line.startswith(_NEXT))
    needed = commands[sum(at < made for at in begun) - 1]
    read = "\n".join((SOURCE / _README).read_text().splitlines()[: needed.line])
    words = len(re.sub(r"<!--.*?-->", "", read).split())
    machine, reading = made - begun[0], words / _WORDS_A_SECOND
    took = (round(after - before, 1) for before, after in pairwise(begun))
    return Gone(
        way.what,
        way.suite,
        round(load, 1),
        words,
        round(reading, 1),
        round(machine, 1),
        round(reading + machine, 1),
        tuple(zip((each.text for each in commands), took, strict=True)),
    )


def _reach(place: Workplace, host: Host) -> None:
    """Give a host what an administrator gives a client's."""
    settings = host.root / "etc/ceph"
    settings.mkdir()
    for name, words in (
        ("ceph.conf", ("config", "generate-minimal-conf")),
        ("ceph.client.admin.keyring", ("auth", "get", "client.admin")),
    ):
        place.step(f"giving away {name}", "ceph", *words, "-o", f"/cluster/given-{name}")
        (place.folder / "cluster" / f"given-{name}").rename(settings / name)
