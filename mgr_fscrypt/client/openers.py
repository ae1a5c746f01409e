"""What opens protectors, as people give it: `KIND`, or `KIND:SOURCE`. No secret is ever an argument.

A source is a file that only its owner may read, or `-` for standard input; without one, the terminal asks.
"""

import argparse
import getpass
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..ceph.prctl import keep_out_of_core_dumps
from ..keys.errors import KeyStoreError, WrongSecretError
from ..keys.escrow import Escrow
from ..keys.key_file import LARGEST, KeyFile
from ..keys.opener import Opener
from ..keys.passphrase import Passphrase, calibrated
from ..keys.private_files import read_private, write_private
from ..keys.shares import new_recovery_code, new_shares, of_recovery_code, of_shares
from .outcome import Exit, Failure
from .report import Reporter

SOURCES = """protectors, and what opens them: KIND or KIND:SOURCE (a FILE for its owner alone; "-" is standard input)
  kms                      the tenant's key managers, with their credentials on this host
  passphrase[:FILE|-]      asked for on the terminal where no source is given
  key-file:FILE            32 or more random bytes
  recovery-code[:FILE|-]   20 words; the first four letters of each are enough
  shares:FILE              given once for each share
  escrow:PEM               the organisation's RSA key: the public half (or certificate) makes one, the private opens it

What is given with --open opens the key itself, or the key of its tenant.
"""
NEW = """new protectors (--with):
  as above; `recovery-code` and `shares:K/N` are made here, and shown once; with `recovery-code:FILE` and
  `shares:K/N:DIRECTORY` they are put into new files instead
"""
_LONGEST = 4096
_STANDARD_INPUT = "-"


_KINDS: Mapping[str, str] = {
    "kms": "",
    "passphrase": "",
    "key-file": "FILE",
    "recovery-code": "",
    "shares": "FILE",
    "escrow": "PEM",
}
"""Kinds, and the source that one cannot do without."""


@dataclass(frozen=True)
class Given:
    """One `KIND` or `KIND:SOURCE`."""

    kind: str
    source: str | None


def given(text: str) -> Given:
    """What was typed; raises `ArgumentTypeError`. It is not repeated: it may be a secret in the wrong place."""
    kind, colon, source = text.partition(":")
    if kind not in _KINDS:
        raise argparse.ArgumentTypeError(f"that is no kind of protector; there are {', '.join(_KINDS)}")
    if _KINDS[kind] and not source:
        raise argparse.ArgumentTypeError(f"{kind} needs a source: {kind}:{_KINDS[kind]}")
    return Given(kind, source if colon else None)


@dataclass(frozen=True)
class NewProtector:
    """What a new protector is made of, and what its people must keep: words to show once."""

    opener: Opener
    words: tuple[str, ...] = ()


def openers_of(wanted: Sequence[Given], managers: Opener) -> tuple[Opener, ...]:
    """What `--open` gave; `managers` for the key managers, and where it gave nothing.

    Raises:
        Failure: there is no terminal to ask on.
        KeyStoreError: what a source holds cannot be such a secret.
    """
    keep_out_of_core_dumps()
    shares = [each.source for each in wanted if each.kind == "shares"]
    found: list[Opener] = [] if wanted else [managers]
    for each in wanted:
        source = each.source
        match each.kind:
            case "kms":
                found.append(managers)
            case "passphrase":
                found.append(Passphrase(_line("passphrase", source)))
            case "key-file":
                found.append(_key_file(source))
            case "recovery-code":
                found.append(of_recovery_code(_line("recovery code", source)))
            case "escrow":
                found.append(_escrow(source))
    if shares:
        found.append(of_shares([_line("share", source or _STANDARD_INPUT) for source in shares]))
    return tuple(found)


def new_protector(
    wanted: Given, kms: Callable[[str | None], Opener], *, seconds: float = 1.0, dry_run: bool = False
) -> NewProtector:
    """What `--with` gave; `kms` gives what `kms` or `kms:NAME` stands for; `seconds`: what a passphrase's unlocking
    may take. With `dry_run` there are no words to keep, neither in files: they would open nothing.

    Raises as `openers_of`.
    """
    keep_out_of_core_dumps()
    source = wanted.source
    match wanted.kind:
        case "kms":
            return NewProtector(kms(source))
        case "passphrase":
            made = Passphrase(_line("new passphrase", source, twice=True), calibrated(seconds))
            made.require_long_enough()
            return NewProtector(made)
        case "key-file":
            return NewProtector(_key_file(source))
        case "escrow":
            return NewProtector(_escrow(source))
        case "recovery-code":
            code, words = new_recovery_code()
            files = None if source is None else [Path(source)]
            return NewProtector(code, () if dry_run else _kept((words,), files))
        case _:
            return _new_shares(source, dry_run=dry_run)


def show_words(found: NewProtector, reporter: Reporter) -> None:
    """Show what has to be written down, once."""
    if found.words:
        kind = found.opener.kind
        text = "\n\n".join(found.words)
        reporter.answer(
            {"kind": kind, "words": list(found.words)},
            f"Write this {kind} down. It is shown once, and is not kept anywhere:\n\n{text}\n",
        )


def _new_shares(source: str | None, *, dry_run: bool) -> NewProtector:
    numbers, _, directory = (source or "").partition(":")
    needed, slash, people = numbers.partition("/")
    if not (slash and needed.isdecimal() and people.isdecimal()):
        raise Failure(
            Exit.USAGE, "shares need K/N: how many of how many people", remedy="such as `--with shares:3/5`"
        )
    secret, words = new_shares(int(needed), int(people))
    files = [Path(directory, f"share-{number + 1}") for number in range(len(words))] if directory else None
    return NewProtector(secret, () if dry_run else _kept(words, files))


def _kept(words: tuple[str, ...], files: Sequence[Path] | None) -> tuple[str, ...]:
    """Words that go into files need not be shown."""
    if files is None:
        return words
    for each, file in zip(words, files, strict=True):
        write_private(file, each.encode() + b"\n")
    return ()


def _line(what: str, source: str | None, *, twice: bool = False) -> str:
    if source == _STANDARD_INPUT:
        data = sys.stdin.buffer.readline(_LONGEST)
    elif source is not None:
        data = read_private(Path(source), what, limit=_LONGEST)
    elif not sys.stdin.isatty():
        raise Failure(
            Exit.USAGE,
            f"there is no terminal to ask for the {what}",
            remedy="give a file for its owner alone as KIND:FILE, or standard input as KIND:-",
        )
    else:
        return _asked(what, twice=twice)
    return data.rstrip(b"\r\n").decode("utf-8", "surrogateescape")


def _asked(what: str, *, twice: bool) -> str:
    found = getpass.getpass(f"{what}: ")
    if twice and getpass.getpass(f"{what}, once more: ") != found:
        raise Failure(Exit.USAGE, f"this was not the same {what} twice", remedy="run it again")
    return found


def _key_file(source: str | None) -> KeyFile:
    if source == _STANDARD_INPUT:
        return KeyFile(sys.stdin.buffer.read(LARGEST + 1))
    return KeyFile(read_private(Path(source or ""), "key file", limit=LARGEST + 1))


def _escrow(source: str | None) -> Escrow:
    file = Path(source or "")
    pem = file.read_bytes()
    if b"PRIVATE KEY" in pem:
        pem = read_private(file, "private key", limit=LARGEST)
    try:
        return Escrow(pem)
    except WrongSecretError:
        if not sys.stdin.isatty():
            raise KeyStoreError(
                "the private key has a password, and there is no terminal to ask for it",
                remedy="take the password off with `openssl pkey`, into a file for its owner alone",
            ) from None
        return Escrow(pem, getpass.getpass("password of the private key: ").encode())
