"""The name that somebody may have meant: at most some hundredths of a second of ceph-mgr's interpreter."""

from collections.abc import Iterable
from difflib import SequenceMatcher
from heapq import nlargest
from itertools import islice

COMPARED = 100
"""Names that are looked at."""
_CLOSELY = 3
_LETTERS = 100
_ALIKE = 0.6


def nearest(name: str, names: Iterable[str]) -> str | None:
    """The one of the first `COMPARED` names that is most like `name`; None where nothing is near.

    What tells two names apart best takes the square of their length at least (difflib), so that one who chooses them
    could hold up ceph-mgr for seconds. So the ends of all are compared by the letters they have, and the order of
    these is looked at in the nearest few alone.
    """
    matcher = SequenceMatcher(autojunk=False)
    matcher.set_seq2(name[-_LETTERS:])

    def letters(other: str) -> float:
        matcher.set_seq1(other[-_LETTERS:])
        return matcher.quick_ratio()

    def order(other: str) -> float:
        matcher.set_seq1(other[-_LETTERS:])
        return matcher.ratio()

    likely = nlargest(_CLOSELY, islice(names, COMPARED), key=letters)
    alike, best = max(((order(other), other) for other in likely), default=(0.0, None))
    return best if alike >= _ALIKE else None


def hint(name: str, names: Iterable[str], otherwise: str) -> str:
    """What a refusal of a name says to do next: the nearest one, or `otherwise`."""
    near = nearest(name, names)
    return f'did you mean "{near}"?' if near else otherwise
