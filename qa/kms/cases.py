"""What every kind of key manager must do, and what each trouble must come to. One class of cases for all of them."""

import base64
import logging
import os
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest

from mgr_fscrypt.keys.errors import (
    KmsAnswerError,
    KmsContextError,
    KmsError,
    KmsKeyError,
    KmsRefusedError,
    KmsUnreachableError,
)
from mgr_fscrypt.keys.kms import SIGNING_KEY, Kms, Sealed, Settings
from qa.fakes.ports import free_port
from qa.kms.place import LocalPlace, Place
from qa.kms.standins import babbling, cutting, silent, standing_in, trickling
from qa.load.promptness import prompt

CONTEXT = {"fsid": "9d0f1c1e-7a35-4f3c-8f0c-3d1b1a9f0c11", "tenant": "blue"}
TIMEOUT = 10.0
"""Seconds for a call that should do well: a busy machine is not what is tested."""
SHORT = 1.0
"""Seconds for a call that cannot."""
_EITHER = (KmsUnreachableError, KmsAnswerError)
_MEASURED = 20


class Spoken:
    """All that was logged by anybody, at every level."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._handler = logging.Handler(level=0)
        self._handler.emit = lambda record: self.lines.append(self._handler.format(record))  # type: ignore[method-assign]

    def __enter__(self) -> "Spoken":
        logging.getLogger().addHandler(self._handler)
        self.listen()
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger().removeHandler(self._handler)

    def listen(self) -> None:
        """Turn every logger's debug messages on that there is by now, as the most curious administrator would."""
        logging.getLogger().setLevel(logging.DEBUG)
        for name in list(logging.root.manager.loggerDict):
            logging.getLogger(name).setLevel(logging.DEBUG)

    def text(self) -> bytes:
        return "\n".join(self.lines).encode()


def told(secret: bytes, text: bytes) -> bool:
    """Whether the text has the secret in it: raw, hexadecimal, in base64 or as Python prints bytes."""
    forms = [secret, secret.hex().encode(), base64.b64encode(secret), repr(secret).encode()[2:-1]]
    return any(form in text for form in forms)


class KmsCases:
    """The cases. A test class of a kind gives the fixture `place`, for the class."""

    changed: ClassVar[tuple[type[KmsError], ...]] = (KmsContextError,)
    """What a changed blob may come to."""

    @pytest.fixture
    def secret(self) -> bytes:
        return os.urandom(64)

    @pytest.fixture
    def settings(self, place: LocalPlace) -> Settings:
        return place.settings()

    @pytest.fixture
    def spoken(self) -> Iterator[Spoken]:
        with Spoken() as spoken:
            yield spoken

    @pytest.fixture
    def reach(self, place: LocalPlace) -> Callable[..., AbstractContextManager[Kms]]:
        def reach(settings: Settings, timeout: float = TIMEOUT) -> AbstractContextManager[Kms]:
            return place.open(settings, timeout)

        return reach

    @pytest.fixture
    def kms(self, reach, settings, spoken, secret, place) -> Iterator[Kms]:
        """Opened for a fresh key. Whatever a test does with it, no log has a secret."""
        with reach(settings) as kms:
            spoken.listen()
            yield kms
        assert not told(secret, spoken.text())
        for credential in place.secrets():
            assert not told(credential, spoken.text())

    def refuses(
        self,
        reach,
        place: LocalPlace,
        settings: Settings,
        wanted: type[KmsError] | tuple[type[KmsError], ...],
        *,
        sealed: Sealed | None = None,
    ) -> KmsError:
        """Wrapping (or unwrapping) comes to this error, in time, with a remedy and without a secret or a cause."""
        secret = os.urandom(64)
        timeout = SHORT if wanted is KmsUnreachableError or wanted == _EITHER else TIMEOUT
        with reach(settings, timeout) as kms:
            began = time.monotonic()
            with pytest.raises(wanted) as caught:
                kms.unwrap(sealed, CONTEXT) if sealed else kms.wrap(secret, CONTEXT)
            prompt(time.monotonic() - began, timeout + 0.5)
        error = caught.value
        assert error.remedy
        assert error.__cause__ is None
        assert error.__context__ is None or error.__suppress_context__
        text = f"{error} {error.remedy} {error!r} {kms!r}".encode()
        for each in (secret, *place.secrets()):
            assert not told(each, text)
        return error

    @pytest.mark.parametrize("size", [1, 32, 64])
    def test_what_is_wrapped_comes_back(self, kms: Kms, size: int):
        secret = os.urandom(size)
        sealed = kms.wrap(secret, CONTEXT)
        assert kms.unwrap(sealed, CONTEXT) == secret
        assert size == 1 or not told(secret, sealed.blob)
        assert bool(sealed.version) is kms.flags.versions

    @pytest.mark.parametrize("size", [0, 65])
    def test_other_sizes_are_refused_here(self, kms: Kms, size: int):
        with pytest.raises(ValueError, match=f"{size} bytes"):
            kms.wrap(bytes(size), CONTEXT)

    def test_the_order_of_the_words_is_nothing(self, kms: Kms, secret: bytes):
        sealed = kms.wrap(secret, CONTEXT)
        assert kms.unwrap(sealed, dict(reversed(CONTEXT.items()))) == secret

    def test_another_client_unwraps(self, reach, settings, kms: Kms, secret: bytes):
        sealed = kms.wrap(secret, CONTEXT)
        with reach(settings) as other:
            assert other.unwrap(Sealed(sealed.blob, sealed.version), CONTEXT) == secret

    def test_each_wrap_is_another(self, kms: Kms, secret: bytes):
        assert kms.wrap(secret, CONTEXT).blob != kms.wrap(secret, CONTEXT).blob

    @pytest.mark.parametrize(
        "context",
        [
            {},
            CONTEXT | {"tenant": "red"},
            CONTEXT | {"more": ""},
            {"fsid": CONTEXT["fsid"]},
            {"tenant": CONTEXT["fsid"], "fsid": CONTEXT["tenant"]},
        ],
        ids=["none", "another word", "one more", "one less", "exchanged"],
    )
    def test_another_context(self, kms: Kms, secret: bytes, context):
        sealed = kms.wrap(secret, CONTEXT)
        with pytest.raises(KmsContextError):
            kms.unwrap(sealed, context)

    def test_another_key(self, reach, place: LocalPlace, kms: Kms, secret: bytes):
        sealed = kms.wrap(secret, CONTEXT)
        with reach(place.settings()) as other, pytest.raises(self.changed):
            other.unwrap(sealed, CONTEXT)

    def test_a_changed_blob(self, kms: Kms, secret: bytes):
        sealed = kms.wrap(secret, CONTEXT)
        blob = sealed.blob
        changed = [b"", b"x", blob[:-1], blob[: len(blob) // 2], blob[1:], blob + b"A", b"\xff" * len(blob)]
        for at in range(0, len(blob), max(1, len(blob) // 12)):
            changed.append(blob[:at] + bytes([blob[at] ^ 1]) + blob[at + 1 :])
        for each in changed:
            with pytest.raises(self.changed):
                kms.unwrap(replace(sealed, blob=each), CONTEXT)
        assert kms.unwrap(sealed, CONTEXT) == secret

    def test_rotated(self, kms: Kms, secret: bytes):
        if not kms.flags.rotate:
            with pytest.raises(ValueError, match="cannot rotate"):
                kms.rotate()
            return
        old = kms.wrap(secret, CONTEXT)
        kms.rotate()
        new = kms.wrap(secret, CONTEXT)
        assert (new.version != old.version) is kms.flags.versions
        assert kms.unwrap(old, CONTEXT) == kms.unwrap(new, CONTEXT) == secret

    def test_rewrapped(self, kms: Kms, secret: bytes):
        old = kms.wrap(secret, CONTEXT)
        if not kms.flags.rewrap:
            with pytest.raises(ValueError, match="cannot rewrap"):
                kms.rewrap(old, CONTEXT)
            return
        kms.rotate()
        new = kms.rewrap(old, CONTEXT)
        assert new.blob != old.blob
        assert (new.version != old.version) is kms.flags.versions
        assert kms.unwrap(new, CONTEXT) == kms.unwrap(old, CONTEXT) == secret
        with pytest.raises(KmsContextError):
            kms.rewrap(old, CONTEXT | {"tenant": "red"})

    def test_signed(self, kms: Kms):
        if not kms.flags.sign:
            with pytest.raises(ValueError, match="cannot sign"):
                kms.sign(b"statement")
            return
        signature = kms.sign(b"statement")
        assert kms.verify(b"statement", signature)
        assert not kms.verify(b"statement.", signature)
        for wrong in (b"", b"x", signature[:-9], signature[:-9] + b"AAAAAAAA=", b"\xff" * 80):
            assert not kms.verify(b"statement", wrong)
        assert kms.sign(bytes(4096)), "of that size, too"

    def test_a_signing_key_that_is_not_there(self, reach, place: LocalPlace, settings):
        if SIGNING_KEY not in settings.options:
            return
        options = {**settings.options, SIGNING_KEY: self.absent_key(settings)}
        with reach(settings) as kms:
            signature = kms.sign(b"statement")
        with reach(replace(settings, options=options)) as kms:
            with pytest.raises(KmsKeyError):
                kms.sign(b"statement")
            with pytest.raises(KmsKeyError):
                kms.verify(b"statement", signature)

    def test_a_signing_key_that_signs_nothing(self, reach, settings):
        if SIGNING_KEY not in settings.options:
            return
        options = {**settings.options, SIGNING_KEY: settings.key}
        with reach(replace(settings, options=options)) as kms, pytest.raises(KmsError) as caught:
            kms.sign(b"statement")
        assert caught.value.remedy

    def test_destroyed(self, reach, place: LocalPlace, settings, kms: Kms, secret: bytes):
        sealed = kms.wrap(secret, CONTEXT)
        if not kms.flags.destroy:
            with pytest.raises(ValueError, match="cannot destroy"):
                kms.destroy()
            return
        kms.destroy()
        self.refuses(reach, place, settings, KmsKeyError, sealed=sealed)
        self.expect_no_new_wrap(reach, place, settings)

    def expect_no_new_wrap(self, reach, place: LocalPlace, settings: Settings) -> None:
        """A destroyed key wraps nothing, and does not come back by itself."""
        self.refuses(reach, place, settings, KmsKeyError)

    def test_a_key_that_is_not_there(self, reach, place: LocalPlace, settings):
        self.refuses(reach, place, replace(settings, key=self.absent_key(settings)), KmsKeyError)

    def absent_key(self, settings: Settings) -> str:
        return "no-such-key"

    def test_check(self, kms: Kms):
        kms.check()

    def test_many_at_once(self, kms: Kms):
        secrets = [os.urandom(64) for _ in range(16)]

        def there_and_back(secret: bytes) -> bytes:
            return kms.unwrap(kms.wrap(secret, CONTEXT), CONTEXT)

        with ThreadPoolExecutor(4) as pool:
            assert list(pool.map(there_and_back, secrets)) == secrets

    def test_how_long_it_takes(self, kms: Kms, secret: bytes, capsys: pytest.CaptureFixture[str]):
        wraps, unwraps = [], []
        for _ in range(_MEASURED):
            began = time.perf_counter()
            sealed = kms.wrap(secret, CONTEXT)
            middle = time.perf_counter()
            kms.unwrap(sealed, CONTEXT)
            wraps.append(middle - began)
            unwraps.append(time.perf_counter() - middle)
        wrap, unwrap = (1000 * statistics.median(each) for each in (wraps, unwraps))
        with capsys.disabled():
            print(
                f"\nsampled: {type(self).__name__}: {_MEASURED} wraps, {wrap:.1f} ms; unwraps, {unwrap:.1f} ms"
            )

    def test_taken_away(self, reach, place: LocalPlace):
        for name, revoke in place.revocations().items():
            settings = place.settings()
            with reach(settings) as kms:
                sealed = kms.wrap(os.urandom(64), CONTEXT)
                revoke(settings)
            error = self.refuses(reach, place, settings, KmsKeyError, sealed=sealed)
            assert settings.name in str(error), name

    def test_wrong_credentials(self, reach, place: LocalPlace, settings):
        self.refuses(reach, place, place.refused(settings), KmsRefusedError)


class NetworkCases(KmsCases):
    """What comes on top where there is a network between."""

    def test_nobody_listens(self, reach, place: Place, settings):
        self.refuses(reach, place, place.at(settings, free_port()), KmsUnreachableError)

    def test_it_comes_back(self, reach, place: Place, settings, kms: Kms, secret: bytes):
        sealed = kms.wrap(secret, CONTEXT)
        place.pause()
        try:
            with reach(settings, SHORT) as impatient, pytest.raises(KmsUnreachableError):
                impatient.unwrap(sealed, CONTEXT)
        finally:
            place.resume()
        assert kms.unwrap(sealed, CONTEXT) == secret

    @pytest.mark.parametrize("safe", [False, True], ids=["before TLS", "within TLS"])
    def test_it_never_answers(self, reach, place: Place, settings, safe: bool):
        with standing_in(silent, place.server.context() if safe else None) as port:
            error = self.refuses(reach, place, place.at(settings, port), KmsUnreachableError)
        assert "in time" in str(error) or "within" in str(error)

    def test_it_never_ends_its_answer(self, reach, place: Place, settings):
        with standing_in(trickling, place.server.context()) as port:
            self.refuses(reach, place, place.at(settings, port), _EITHER)

    def test_no_answer(self, reach, place: Place, settings):
        with standing_in(babbling, place.server.context()) as port:
            self.refuses(reach, place, place.at(settings, port), KmsAnswerError)

    def test_a_cut_answer(self, reach, place: Place, settings):
        with reach(settings) as kms:
            sealed = kms.wrap(os.urandom(64), CONTEXT)
        serve = cutting(place.port, place.context_of_a_client(settings))
        with standing_in(serve, place.server.context()) as port:
            self.refuses(reach, place, place.at(settings, port), KmsAnswerError, sealed=sealed)

    def test_its_certificate_expired(self, reach, place: Place, settings):
        with standing_in(silent, place.authority.issue("expired", expired=True).context()) as port:
            error = self.refuses(reach, place, place.at(settings, port), KmsUnreachableError)
        assert "certificate has expired" in str(error)

    def test_its_certificate_is_of_another_authority(self, reach, place: Place, settings, tmp_path: Path):
        with standing_in(silent, type(place.authority)(tmp_path).issue("other").context()) as port:
            error = self.refuses(reach, place, place.at(settings, port), KmsUnreachableError)
        assert "certificate is refused" in str(error)


class MutualCases(NetworkCases):
    """What comes on top where clients show a certificate."""

    def test_our_certificate_expired(self, reach, place: Place, settings):
        late = place.authority.issue("late", client=True, expired=True)
        self.refuses(reach, place, place.certificate_of_a_client(settings, late), KmsUnreachableError)

    def test_we_show_none_of_its_authority(self, reach, place: Place, settings, tmp_path: Path):
        stranger = type(place.authority)(tmp_path).issue("stranger", client=True)
        self.refuses(reach, place, place.certificate_of_a_client(settings, stranger), KmsUnreachableError)
