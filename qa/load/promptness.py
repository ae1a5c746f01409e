"""Bars on time: the only checks that are made again when they fail."""


class TooSlowError(AssertionError):
    """A promise of time was missed.

    `tox.ini` has such a test measured again, at most twice, and `qa/run test` tells of each: a machine that does
    other work can miss a bar once. No other failure is tried again.
    """


def prompt(took: float, bar: float, what: str = "it") -> None:
    """Hold that something took less than `bar` seconds.

    Raises:
        TooSlowError: it took longer.
    """
    if not took < bar:
        raise TooSlowError(f"{what} took {took:.3g} s; the bar is {bar:g} s")
