"""What a command prints: text for people or JSON for programs on standard output, notes on standard error."""

import json
import sys
from collections.abc import Mapping
from typing import TextIO

from .outcome import Exit, Failure


class Reporter:
    """Where a command's words go.

    Args:
        as_json: answers and failures are JSON, one document a line.
        quiet: only answers that were asked for, and failures.
    """

    def __init__(self, *, as_json: bool = False, quiet: bool = False) -> None:
        self._as_json = as_json
        self._quiet = quiet

    @property
    def progress_stream(self) -> TextIO | None:
        """Where progress may be drawn."""
        return None if self._quiet or self._as_json else sys.stderr

    def answer(self, value: Mapping[str, object], text: str) -> None:
        """Print what was asked for."""
        sys.stdout.write((json.dumps(value) if self._as_json else text) + "\n")

    def summary(self, value: Mapping[str, object], text: str) -> None:
        """Print what was done."""
        if not self._quiet:
            self.answer(value, text)

    def note(self, text: str) -> None:
        """Tell something that is neither an answer nor a failure."""
        if not self._quiet:
            sys.stderr.write(f"cephfs-fscrypt: {text}\n")

    def failure(self, failure: Failure) -> None:
        """Tell why a command ended early: what happened, what was left, what to do next."""
        if self._as_json:
            value = {
                "error": failure.code.name.lower(),
                "code": int(failure.code),
                "happened": failure.happened,
                "left": failure.left,
                "remedy": failure.remedy,
            }
            sys.stderr.write(json.dumps(value) + "\n")
            return
        lines = [f"cephfs-fscrypt: {failure.happened}", f"  Left as it was: {failure.left}."]
        if failure.code is Exit.INTERNAL:
            lines[1] = f"  State: {failure.left}."
        if failure.remedy:
            lines.append(f"  Next: {failure.remedy.rstrip('.')}.")
        sys.stderr.write("\n".join(lines) + "\n")
