"""When it is believed that nothing was found."""

from collections.abc import Sequence

from .forms import Searched, Secret


class NotProvedError(Exception):
    """Something was not looked at, so that finding nothing means nothing."""


def believed(results: Sequence[Searched], decoy: Secret) -> list[Searched]:
    """Give what was found but for the decoy, which each searcher must have found.

    Raises:
        NotProvedError: one has not.
    """
    blind = [one.kind for one in results if not any(leak.secret == decoy.name for leak in one.leaks)]
    if blind:
        raise NotProvedError(f"the decoy was not found in: {', '.join(blind)}")
    return [one.without(decoy) for one in results]
