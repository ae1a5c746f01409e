"""Azure Key Vault on a fake (`azure_fake`): that the code holds together, not what Azure does."""

import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import pytest

from mgr_fscrypt.keys.errors import KmsKeyError, KmsUnreachableError
from mgr_fscrypt.keys.kms import Settings
from qa.fakes.ports import free_port
from qa.kms.azure_fake import CLIENT, TENANT, FakeVault, Key
from qa.kms.cases import KmsCases
from qa.kms.certificates import Authority
from qa.kms.place import LocalPlace
from qa.kms.standins import silent, standing_in


class Azure(LocalPlace):
    kind = "azure"

    def start(self) -> None:
        self.authority = Authority(self.credentials)
        self.server = self.authority.issue("server")
        self.secret = uuid.uuid4().hex
        self.port = free_port()
        self.fake = FakeVault(self.port, self.server, self.secret)

    def settings(self) -> Settings:
        name = f"key-{uuid.uuid4()}"
        self.fake.keys[name] = Key()
        options = {"ca": "ca.crt", "authority": f"https://localhost:{self.port}"}
        credentials = self.with_secret("azure", self.secret)
        return Settings("cloud", self.kind, f"https://localhost:{self.port}", name, credentials, options)

    def with_secret(self, name: str, secret: str) -> str:
        fields = {"tenant_id": TENANT, "client_id": CLIENT, "client_secret": secret}
        return self.write_credentials(name, fields)

    def refused(self, settings: Settings) -> Settings:
        return replace(settings, credentials=self.with_secret("forged", "forged-secret"))

    def revocations(self) -> Mapping[str, Callable[[Settings], None]]:
        return {
            "disabled": lambda settings: setattr(self.fake.keys[settings.key], "enabled", False),
            "deleted": lambda settings: self.fake.keys.pop(settings.key) and None,
        }


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azure]:
    azure = Azure(tmp_path_factory.mktemp("azure"))
    yield azure
    azure.fake.stop()


class TestAzure(KmsCases):
    """On the fake."""

    # a blob names a version, and another one is not there
    changed = (*KmsCases.changed, KmsKeyError)

    def test_a_disabled_key_wraps_nothing(self, reach, place: Azure, settings):
        place.fake.keys[settings.key].enabled = False
        self.refuses(reach, place, settings, KmsKeyError)

    def test_nobody_listens(self, reach, place: Azure, settings):
        address = f"https://localhost:{free_port()}"
        self.refuses(reach, place, replace(settings, address=address), KmsUnreachableError)

    def test_it_never_answers(self, reach, place: Azure, settings):
        with standing_in(silent) as port:
            address = f"https://localhost:{port}"
            self.refuses(reach, place, replace(settings, address=address), KmsUnreachableError)

    def test_its_certificate_expired(self, reach, place: Azure, settings):
        with standing_in(silent, place.authority.issue("expired", expired=True).context()) as port:
            address = f"https://localhost:{port}"
            self.refuses(reach, place, replace(settings, address=address), KmsUnreachableError)
