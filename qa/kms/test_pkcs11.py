"""SoftHSM, as any PKCS#11 library: with AES-GCM, and as a token that has none."""

import os
import shutil
import subprocess
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pkcs11
import pytest
from pkcs11 import Attribute, KeyType, MechanismFlag

from mgr_fscrypt.keys.errors import KmsKeyError, KmsSettingsError, KmsUnreachableError
from mgr_fscrypt.keys.kms import Settings
from qa.kms.cases import CONTEXT, SHORT, TIMEOUT, KmsCases
from qa.kms.place import LocalPlace, program

_LIBRARY = Path("/usr/lib/softhsm/libsofthsm2.so")
_PIN = "very-secret-pin"

# a library that hangs in its first call, as one does whose network HSM is gone
_HANGING = """
#include <unistd.h>
typedef unsigned long CK_RV;
static CK_RV hang(void *x) { sleep(5); return 5; }
static struct { unsigned char major, minor; CK_RV (*functions[68])(void *); } list = {2, 40};
CK_RV C_GetFunctionList(void **found) {
    for (int i = 0; i < 68; i++) list.functions[i] = hang;
    *found = &list;
    return 0;
}
"""


def make(session: pkcs11.Session, label: str, rights: MechanismFlag) -> None:
    session.generate_key(KeyType.AES, 256, label=label, id=b"\1", store=True, capabilities=rights)


class SoftHsm(LocalPlace):
    kind = "pkcs11"

    def start(self) -> None:
        (self.folder / "tokens").mkdir()
        config = self.folder / "softhsm2.conf"
        config.write_text(f"directories.tokendir = {self.folder}/tokens\nlog.level = ERROR\n")
        os.environ["SOFTHSM2_CONF"] = str(config)
        self.label = f"token-{uuid.uuid4().hex[:8]}"
        command = [program("softhsm2-util"), "--init-token", "--free", "--label", self.label]
        subprocess.run([*command, "--pin", _PIN, "--so-pin", "so-pin"], check=True, capture_output=True)

    def act(self, what: Callable[[pkcs11.Session], None]) -> None:
        token = pkcs11.lib(str(_LIBRARY)).get_token(token_label=self.label)
        with token.open(rw=True, user_pin=_PIN) as session:
            what(session)

    def settings(self) -> Settings:
        key = f"key-{uuid.uuid4()}"
        everything = MechanismFlag.ENCRYPT | MechanismFlag.DECRYPT | MechanismFlag.WRAP | MechanismFlag.UNWRAP
        self.act(lambda session: make(session, key, everything))
        credentials = self.write_credentials("hsm", {"pin": _PIN})
        return Settings("box", self.kind, str(_LIBRARY), key, credentials, {"token": self.label})

    def refused(self, settings: Settings) -> Settings:
        return replace(settings, credentials=self.write_credentials("forged", {"pin": "forged-pin"}))

    def revocations(self) -> Mapping[str, Callable[[Settings], None]]:
        def forbidden(settings: Settings) -> None:
            def forbid(session: pkcs11.Session) -> None:
                # SoftHSM does not let a key's rights be taken away: one of its name and number without them
                session.get_key(label=settings.key).destroy()
                make(session, settings.key, MechanismFlag.ENCRYPT | MechanismFlag.WRAP)

            self.act(forbid)

        return {
            "deleted": lambda settings: self.act(
                lambda session: session.get_key(label=settings.key).destroy()
            ),
            "forbidden": forbidden,
        }


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> SoftHsm:
    return SoftHsm(tmp_path_factory.mktemp("hsm"))


class TestPkcs11(KmsCases):
    """The token binds the context, by AES-GCM."""

    changed = (*KmsCases.changed, KmsKeyError)


class TestPkcs11KeyWrap(TestPkcs11):
    """The token wraps keys only, and our AEAD binds the context."""

    @pytest.fixture
    def settings(self, place: SoftHsm) -> Settings:
        settings = place.settings()
        return replace(settings, options={**settings.options, "mechanism": "aes-key-wrap-pad"})


def test_another_mechanism_by_now(place: SoftHsm):
    settings = place.settings()
    other = replace(settings, options={**settings.options, "mechanism": "aes-key-wrap-pad"})
    with (
        place.open(settings, TIMEOUT) as one,
        place.open(other, TIMEOUT) as two,
    ):
        assert two.unwrap(one.wrap(b"secret", CONTEXT), CONTEXT) == b"secret"
        assert one.unwrap(two.wrap(b"secret", CONTEXT), CONTEXT) == b"secret"


def test_versions_are_numbers(place: SoftHsm):
    with place.open(place.settings(), TIMEOUT) as kms:
        for number in range(1, 4):
            assert kms.wrap(b"secret", CONTEXT).version == str(number)
            kms.rotate()


def test_a_key_that_was_rotated_cannot_leave(place: SoftHsm):
    settings = place.settings()
    with place.open(settings, TIMEOUT) as kms:
        kms.rotate()

    def look(session: pkcs11.Session) -> None:
        key = session.get_key(label=settings.key, id=b"\2")
        assert key[Attribute.SENSITIVE]
        assert not key[Attribute.EXTRACTABLE]

    place.act(look)


@pytest.mark.parametrize("options", [{}, {"token": "box", "mechanism": "rot13"}])
def test_options_that_are_not_right(place: SoftHsm, options: dict[str, str]):
    with pytest.raises(KmsSettingsError):
        place.open(replace(place.settings(), options=options), TIMEOUT)


def test_no_such_token(place: SoftHsm):
    settings = replace(place.settings(), options={"token": "another"})
    with (
        place.open(settings, TIMEOUT) as kms,
        pytest.raises(KmsUnreachableError, match="no token another"),
    ):
        kms.check()


def test_no_such_library(place: SoftHsm):
    settings = replace(place.settings(), address="/usr/lib/none.so")
    with pytest.raises(KmsUnreachableError, match="no library"):
        place.open(settings, TIMEOUT)


def test_a_file_that_is_no_library(place: SoftHsm, tmp_path: Path):
    file = tmp_path / "text.so"
    file.write_text("no library")
    settings = replace(place.settings(), address=str(file))
    with place.open(settings, TIMEOUT) as kms, pytest.raises(KmsUnreachableError):
        kms.check()


def test_a_library_that_others_may_change(place: SoftHsm, tmp_path: Path):
    file = tmp_path / "open.so"
    shutil.copy(_LIBRARY, file)
    file.chmod(0o666)
    with pytest.raises(KmsSettingsError, match="others may change"):
        place.open(replace(place.settings(), address=str(file)), TIMEOUT)


@pytest.fixture
def hanging(tmp_path: Path) -> Path:
    source, library = tmp_path / "hanging.c", tmp_path / "hanging.so"
    source.write_text(_HANGING)
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, source], check=True)
    return library


def test_a_library_that_hangs(place: SoftHsm, hanging: Path):
    settings = replace(place.settings(), address=str(hanging))
    with (
        place.open(settings, SHORT) as kms,
        pytest.raises(KmsUnreachableError, match="within 1 s"),
    ):
        kms.check()
