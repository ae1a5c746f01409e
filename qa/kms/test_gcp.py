"""Google Cloud KMS on a fake (`gcp_fake`): that the code holds together, not what Google does."""

import json
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.cloud import kms_v1

from mgr_fscrypt.keys.errors import KmsSettingsError, KmsUnreachableError
from mgr_fscrypt.keys.kms import Settings
from qa.fakes.ports import free_port
from qa.kms.cases import TIMEOUT, KmsCases
from qa.kms.certificates import Authority
from qa.kms.gcp_fake import FakeKms, Key
from qa.kms.place import LocalPlace
from qa.kms.standins import silent, standing_in

_State = kms_v1.CryptoKeyVersion.CryptoKeyVersionState


def pem(key: rsa.RSAPrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


class Gcp(LocalPlace):
    kind = "gcp"

    def start(self) -> None:
        self.authority = Authority(self.credentials)
        self.server = self.authority.issue("server")
        self.account = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.fake = FakeKms(self.server, self.account.public_key())

    def settings(self) -> Settings:
        name = f"projects/p/locations/l/keyRings/r/cryptoKeys/{uuid.uuid4()}"
        self.fake.keys[name] = Key()
        credentials = self.account_file("gcp", self.account)
        return Settings(
            "cloud", self.kind, f"localhost:{self.fake.port}", name, credentials, {"ca": "ca.crt"}
        )

    def account_file(self, name: str, key: rsa.RSAPrivateKey) -> str:
        fields = {
            "type": "service_account",
            "client_email": "us@example.com",
            "token_uri": "https://localhost:1/token",
            "private_key": pem(key),
        }
        return self.write_credentials(name, fields)

    def refused(self, settings: Settings) -> Settings:
        other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        return replace(settings, credentials=self.account_file("forged", other))

    def revocations(self) -> Mapping[str, Callable[[Settings], None]]:
        def to(state: _State) -> Callable[[Settings], None]:
            return lambda settings: self.fake.keys[settings.key].states.__setitem__(0, state)

        return {"disabled": to(_State.DISABLED), "waits for its destruction": to(_State.DESTROY_SCHEDULED)}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gcp]:
    gcp = Gcp(tmp_path_factory.mktemp("gcp"))
    yield gcp
    gcp.fake.stop()


class TestGcp(KmsCases):
    """On the fake."""

    def test_nobody_listens(self, reach, place: Gcp, settings):
        self.refuses(reach, place, replace(settings, address=f"localhost:{free_port()}"), KmsUnreachableError)

    def test_it_never_answers(self, reach, place: Gcp, settings):
        with standing_in(silent) as port:
            address = f"localhost:{port}"
            self.refuses(reach, place, replace(settings, address=address), KmsUnreachableError)

    def test_its_certificate_expired(self, reach, place: Gcp, settings):
        with standing_in(silent, place.authority.issue("expired", expired=True).context()) as port:
            address = f"localhost:{port}"
            self.refuses(reach, place, replace(settings, address=address), KmsUnreachableError)


def test_credentials_of_another_form(place: Gcp):
    broken = place.write_credentials("broken", {"type": "service_account", "private_key": "very-secret"})
    with pytest.raises(KmsSettingsError) as caught:
        place.open(replace(place.settings(), credentials=broken), TIMEOUT)
    assert caught.value.__context__ is None
    fields = json.loads((place.credentials / broken).read_text())
    assert fields["private_key"] not in str(caught.value)
