"""Calls of `os` in a process of its own.

A file that is open on a FUSE mount is told of each close, also of the copies that a new process has: with its server
stopped, whoever has it open could start no program.
"""

import multiprocessing
import os
from multiprocessing.connection import Connection
from typing import Any


class Remote:
    """One such process; `OSError` comes back as it was raised there."""

    def __init__(self) -> None:
        spawning = multiprocessing.get_context("spawn")
        self._pipe, theirs = spawning.Pipe()
        self._process = spawning.Process(target=_serve, args=[theirs], daemon=True)
        self._process.start()
        theirs.close()

    def call(self, name: str, *arguments: Any) -> Any:
        """What a function of `os` gives."""
        self._pipe.send((name, arguments))
        error, value = self._pipe.recv()
        if error is not None:
            raise OSError(*error)
        return value

    def end(self) -> None:
        """End the process; what it has open is closed."""
        self._pipe.close()
        self._process.join(30)
        self._process.kill()
        self._process.join(30)


def _serve(pipe: Connection) -> None:
    while True:
        try:
            name, arguments = pipe.recv()
        except EOFError:
            return
        try:
            pipe.send((None, getattr(os, name)(*arguments)))
        except OSError as error:
            pipe.send(((error.errno, error.strerror), None))
