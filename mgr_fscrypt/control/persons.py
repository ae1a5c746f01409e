"""Which identities could be one person.

Whoever lets somebody in has seen the token, or has chosen for whom it is: they can have let in themselves. So behind an
identity stand those who let it in, those who let these in, and so on up to the command line, where it ends: whoever may
give commands to the cluster is trusted with who has access (doc/threat-model.md).
"""

from collections.abc import Sequence

from ..store import Identity

Line = tuple[str, ...]
"""An identity and all who stand behind it, by their names, nearest first; the command line's has nobody."""
UNKNOWN = "?"
"""Stands behind those who were let in before it was kept by whom: no name of an identity is that."""
LONGEST = 20
"""Names in a line: farther from the command line nobody is let in."""
OF_THE_DASHBOARD = "dashboard."
"""What names of identities begin with that are users of Ceph's dashboard."""


def line_of(identity: Identity) -> Line:
    """The line of an identity."""
    return (identity.name, *identity.created_by.split())


def person(name: str) -> str:
    """Whom a name means: a user of Ceph's dashboard and a token of the same name are taken for one."""
    return name.removeprefix(OF_THE_DASHBOARD).casefold()


def in_common(one: Sequence[str], other: Sequence[str]) -> str:
    """The nearest one who stands in both lines; empty: nobody does, so they are two people."""
    known = {person(each) for each in other}
    return next((each for each in one if person(each) in known), "")
