"""Protectors for the bad day: a recovery code for one person, or shares of which k of n people are needed.

Both are words of SLIP-39 (https://github.com/satoshilabs/slips/blob/master/slip-0039.md), by Trezor's own library: they
can be written down, typed by their first four letters, and carry a checksum. A recovery code is the one share of one.
"""

import os
from collections.abc import Sequence
from functools import cache
from typing import Any

from ..format import Secretive
from .binding import Binding
from .derivation import derived, fresh_salt
from .errors import RefusedError, WrongSecretError
from .opener import Parameters

MOST = 16
"""People that can have shares of one secret: what the format holds."""
_CODE, _SHARED = 16, 32
_SOURCE = "`pip install shamir-mnemonic`, or Debian's python3-shamir-mnemonic"


class Recovery(Secretive):
    """What words stand for. `kind` is `recovery-code` or `shares`."""

    opens = True
    __slots__ = ("_secret", "kind")

    def __init__(self, secret: bytes, kind: str) -> None:
        self._secret = secret
        self.kind = kind

    def begin(self, binding: Binding) -> tuple[Parameters, bytes]:
        """See `Opener`."""
        parameters = fresh_salt()
        return parameters, self.wrapping_key(parameters, binding)

    def wrapping_key(self, parameters: Parameters, binding: Binding) -> bytes:
        """See `Opener`."""
        return derived(self._secret, parameters, self.kind)


def new_recovery_code() -> tuple[Recovery, str]:
    """One, and its 20 words, which are shown once."""
    secret = os.urandom(_CODE)
    return Recovery(secret, "recovery-code"), _split(secret, 1, 1)[0]


def new_shares(needed: int, people: int) -> tuple[Recovery, tuple[str, ...]]:
    """A secret, and its shares of 33 words, `needed` of which give it back.

    Raises:
        RefusedError: there are no such shares.
    """
    if not 1 < needed <= people <= MOST:
        raise RefusedError(
            f"shares are for 2 to {MOST} people, of whom at least 2 are needed, not {needed} of {people}"
        )
    secret = os.urandom(_SHARED)
    return Recovery(secret, "shares"), tuple(_split(secret, needed, people))


def of_recovery_code(words: str) -> Recovery:
    """What a code stands for. Raises `WrongSecretError`: a word is mistyped, missing or no word."""
    return Recovery(_joined([words]), "recovery-code")


def of_shares(shares: Sequence[str]) -> Recovery:
    """What these shares stand for. Raises `WrongSecretError`: as above, too few, or of different sets."""
    return Recovery(_joined(shares), "shares")


def _split(secret: bytes, needed: int, people: int) -> list[str]:
    (group,) = _library().generate_mnemonics(1, [(needed, people)], secret)
    return list(group)


def _joined(shares: Sequence[str]) -> bytes:
    library = _library()
    given = [" ".join(_whole(word) for word in share.lower().split()) for share in shares]
    try:
        needed = min((library.Share.from_mnemonic(each).member_threshold for each in given), default=0)
        # the library refuses more than are needed
        return bytes(library.combine_mnemonics(list(dict.fromkeys(given))[: needed or None]))
    except library.MnemonicError as error:
        # its words count and name what is wrong, and never repeat what was typed but for one that is no word
        reason = "a word is mistyped" if "mnemonic word" in str(error) else _first_line(error)
        raise WrongSecretError(
            f"these words do not fit together: {reason}", remedy="Read them again."
        ) from None


def _whole(word: str) -> str:
    """A word by its first four letters, which no other word has."""
    return _by_beginning().get(word[:4], word) if len(word) >= 4 else word


@cache
def _by_beginning() -> dict[str, str]:
    from shamir_mnemonic.wordlist import WORDLIST

    return {word[:4]: word for word in WORDLIST}


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0].rstrip(".")


def _library() -> Any:
    try:
        import shamir_mnemonic
    except ImportError as error:
        raise RefusedError(
            "the library for recovery codes and shares is not installed", remedy=_SOURCE
        ) from error
    return shamir_mnemonic
