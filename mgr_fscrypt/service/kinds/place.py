"""The file system that jobs work on, reached."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from ...ceph.interface import Mount
from ...engine.fsck import ObjectExtents


@dataclass(frozen=True)
class Place:
    """One connection, for the time of one run.

    Attributes:
        mount: the file system, by a child process: libcephfs can abort.
        objects: how long the objects of its files are.
    """

    mount: Mount
    objects: ObjectExtents


Reach = Callable[[], AbstractContextManager[Place]]
"""Connects for a ``with`` block. Raises as `ceph.connect.connect_guarded`."""
