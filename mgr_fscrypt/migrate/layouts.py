"""Layouts: where the files of a directory lie. The copy gets that of its directory, as new files there would."""

from dataclasses import replace

from ..ceph.interface import LAYOUT_XATTR, Layout
from .trees import Tree, attribute


def own_layout(tree: Tree, path: bytes) -> Layout | None:
    """What a directory says itself; None for one that goes by the directories above."""
    own = attribute(tree, path, LAYOUT_XATTR)
    return None if own is None else Layout.parse(own)


def layout_for_copy(tree: Tree, path: bytes, namespace: str, *, encrypts: bool) -> list[tuple[str, bytes]]:
    """The attributes for the copy of a directory; none for one that has no layout of its own. A striped one loses its
    stripes where it is encrypted, and keeps its pool.

    Args:
        namespace: instead of its own; empty: its own.
    """
    own = own_layout(tree, path)
    if own is None:
        return []
    if encrypts and own.striped:
        own = own.unstriped
    return (replace(own, namespace=namespace) if namespace else own).attributes
