"""``fsck``: name what is damaged, interrupted or half made, and repair what can be."""

import sys
from collections import Counter
from dataclasses import dataclass, field

from ..ceph.errors import CephError, SessionLostError
from ..ceph.objects import Extents
from ..engine import EngineError, LockedError
from ..engine.fsck import Code, Finding, Fsck, Severity
from .advice import shown
from .connection import Connection
from .outcome import Exit, Failure
from .progress import Progress
from .report import Reporter

REPAIRS = 10_000
"""Repairs that one run previews and does; the rest waits for the next."""


@dataclass(frozen=True)
class Wish:
    """What is to be done about what is found.

    Args:
        repair: repair what can be repaired, after a preview.
        dry_run: only show the preview.
        yes: do not ask.
    """

    repair: bool = False
    dry_run: bool = False
    yes: bool = False


@dataclass
class _Tally:
    """What was found, and what can be done."""

    severities: Counter[Severity] = field(default_factory=Counter)
    codes: Counter[Code] = field(default_factory=Counter)
    repairable: list[Finding] = field(default_factory=list)
    more: bool = False
    repaired: int = 0
    settled: Counter[Severity] = field(default_factory=Counter)

    def add(self, finding: Finding) -> None:
        self.severities[finding.code.severity] += 1
        self.codes[finding.code] += 1
        if finding.repair is not None:
            if len(self.repairable) < REPAIRS:
                self.repairable.append(finding)
            else:
                self.more = True

    def done(self, finding: Finding) -> None:
        self.repaired += 1
        self.settled[finding.code.severity] += 1

    @property
    def clean(self) -> bool:
        """Is nothing left but notes?"""
        left = self.severities - self.settled
        return not any(left[severity] for severity in Severity if severity is not Severity.NOTE)


def fsck(connection: Connection, reporter: Reporter, path: bytes, wish: Wish) -> Exit:
    """Look at all that lies below an encrypted directory.

    Raises:
        Failure: the wish cannot be carried out without asking, and nobody can be asked.
        LockedError: a key was given, and it is not the subtree's.
    """
    if wish.repair and not (wish.dry_run or wish.yes or sys.stdin.isatty()):
        raise Failure(
            Exit.USAGE,
            "--repair asks before it changes something, and there is nobody to ask",
            remedy="see what it would do with --repair --dry-run, then add --yes",
        )
    with Extents(connection.mount.cluster) as objects:
        run = connection.files.fsck(path, objects)
        if connection.keys.key is not None and run.root.locked and run.root.context is not None:
            raise LockedError(run.root.plain, run.root.context.policy.key)
        tally, progress = _Tally(), Progress(reporter.progress_stream)
        try:
            for finding in run.findings(progress.entry):
                tally.add(finding)
                progress.close()
                _tell(reporter, finding, wish)
        finally:
            progress.close()
        if wish.repair and not wish.dry_run and tally.repairable and (wish.yes or _agreed(tally)):
            for finding in tally.repairable:
                _repair(run, reporter, finding, tally)
    if tally.more:
        reporter.note(
            f"only the first {REPAIRS} repairs are previewed and done at once: run it again for more"
        )
    _sum_up(reporter, run, path, tally, progress)
    return Exit.DONE if tally.clean else Exit.DIFFERS


def _tell(reporter: Reporter, finding: Finding, wish: Wish) -> None:
    code, repair = finding.code, finding.repair
    value = {
        "finding": code.word,
        "severity": code.severity.value,
        "path": shown(finding.plain),
        "stored": shown(finding.stored),
        "inode": finding.ino,
        "detail": finding.detail,
        "repair": None if repair is None else repair.value,
        "remedy": code.remedy,
    }
    text = f"{code.severity.value}: {code.word}: {shown(finding.plain)}: {finding.detail}"
    if repair is not None:
        text += f"\n  {'Would' if wish.repair else '--repair would'} {repair.value}."
    elif code.severity is not Severity.NOTE:
        text += f"\n  Next: {code.remedy}"
    reporter.answer(value, text)


def _agreed(tally: _Tally) -> bool:
    sys.stderr.write(f"Do these {len(tally.repairable)} repairs? [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _repair(run: Fsck, reporter: Reporter, finding: Finding, tally: _Tally) -> None:
    where = f"{finding.code.word}: {shown(finding.plain)}"
    try:
        done = run.repair(finding)
    except SessionLostError:
        raise
    except (EngineError, CephError) as error:
        reporter.note(f"{where}: not repaired: {error.strerror or error}. Run it again")
        return
    if done:
        tally.done(finding)
    else:
        reporter.note(f"{where}: not repaired: it is another thing by now, or in use. Run it again")


def _sum_up(reporter: Reporter, run: Fsck, path: bytes, tally: _Tally, progress: Progress) -> None:
    counts = {severity.value: tally.severities[severity] for severity in Severity}
    value = {
        "fsck": shown(path),
        "unlocked": not run.root.locked,
        "entries": run.entries,
        "busy": run.busy,
        **counts,
        "findings": {code.word: count for code, count in tally.codes.items()},
        "repaired": tally.repaired,
        "seconds": round(progress.seconds, 3),
    }
    found = ", ".join(f"{count} {name}" for name, count in counts.items() if count) or "nothing found"
    text = f"{shown(path)}: {run.entries} entries in {progress.seconds:.1f} s: {found}"
    if tally.repaired:
        text += f"; {tally.repaired} repaired"
    if run.busy:
        text += f"; {run.busy} were in use and not judged"
    if run.root.locked:
        text += ". Without the key: names, targets and ends of files were looked at from outside only"
    reporter.summary(value, text + ".")
