"""What is done once for all kinds, on a backend that does as it is told."""

import base64
import time
from collections.abc import Callable
from threading import Event

import pytest

from mgr_fscrypt.keys.errors import KmsAnswerError, KmsError, KmsKeyError, KmsUnreachableError
from mgr_fscrypt.keys.kms import Context, Flags, Sealed, Settings
from mgr_fscrypt.keys.kms.backend import Backend
from mgr_fscrypt.keys.kms.bounded import BoundedKms
from qa.load.promptness import prompt

SECRET = bytes(range(64))
SETTINGS = Settings("safe", "told", "https://localhost:1", "key", "file")


class Told(Backend):
    def __init__(self, act: Callable[[], bytes]) -> None:
        self._act = act

    def wrap(self, secret: bytes, context: Context) -> Sealed:
        return Sealed(self._act())

    def unwrap(self, sealed: Sealed, context: Context) -> bytes:
        return self._act()

    def rotate(self) -> None:
        self._act()

    def explain(self, error: Exception) -> KmsError | None:
        return KmsKeyError(f"known: {error}") if isinstance(error, LookupError) else None


def bounded(act: Callable[[], bytes], timeout: float = 5.0) -> BoundedKms:
    return BoundedKms(SETTINGS, Told(act), Flags(rotate=True), timeout, ["very-secret-token", "me"])


def failing(error: Exception) -> Callable[[], bytes]:
    def act() -> bytes:
        raise error

    return act


def test_a_call_that_hangs_is_left_alone():
    over = Event()

    def hang() -> bytes:
        over.wait(30)
        return b""

    began = time.monotonic()
    with pytest.raises(KmsUnreachableError, match=r"did not answer within 0\.2 s$"):
        bounded(hang, 0.2).wrap(SECRET, {})
    with pytest.raises(KmsUnreachableError, match="whether it was done all the same is not known"):
        bounded(hang, 0.2).rotate()
    prompt(time.monotonic() - began, 1)
    over.set()


def test_calls_that_hang_do_not_pile_up():
    over, calls = Event(), []

    def hang() -> bytes:
        calls.append(1)
        over.wait(30)
        return b"x"

    kms = bounded(hang, 0.01)
    for _ in range(40):
        with pytest.raises(KmsUnreachableError):
            kms.wrap(SECRET, {})
    assert len(calls) == 32
    over.set()


def test_no_secret_is_told_and_no_cause_kept():
    words = f"very-secret-token {SECRET.hex()} {base64.b64encode(SECRET).decode()}\nme"
    with pytest.raises(KmsKeyError) as caught:
        bounded(failing(LookupError(words))).wrap(SECRET, {})
    assert str(caught.value) == "key manager safe (told): known: *** *** *** me"
    assert caught.value.remedy.startswith("look at key key there")
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_long_words_are_cut():
    with pytest.raises(KmsKeyError) as caught:
        bounded(failing(LookupError("word " * 1000))).wrap(SECRET, {})
    assert len(str(caught.value)) < 300


def test_an_error_that_nobody_knows():
    with pytest.raises(KmsAnswerError, match="no answer") as caught:
        bounded(failing(ZeroDivisionError("very"))).unwrap(Sealed(b"x"), {})
    assert "very" not in str(caught.value)


@pytest.mark.parametrize("size", [0, 65])
def test_no_secret_has_that_size(size: int):
    with pytest.raises(KmsAnswerError, match=f"gave {size} bytes"):
        bounded(lambda: bytes(size)).unwrap(Sealed(b"x"), {})


def test_check_compares():
    with pytest.raises(KmsAnswerError, match="something else"):
        bounded(lambda: b"other").check()


def test_what_no_flag_promises():
    for verb in ("rewrap", "destroy"):
        with pytest.raises(ValueError, match=f"cannot {verb}"):
            getattr(bounded(lambda: b""), verb)(*((Sealed(b""), {}) if verb == "rewrap" else ()))
