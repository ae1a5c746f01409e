"""AWS KMS as moto serves it, made as strict as AWS about keys and signatures (`strict_moto`)."""

import sys
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import boto3
import pytest

from mgr_fscrypt.keys.errors import KmsRefusedError, KmsSettingsError
from mgr_fscrypt.keys.kms import SIGNING_KEY, Settings
from qa.kms.cases import CONTEXT, TIMEOUT, NetworkCases
from qa.kms.place import Place, Process, listens
from qa.kms.strict_moto import ACCESS_KEY, SECRET_VARIABLE

_REGION = "eu-central-1"


class Moto(Place):
    kind = "aws"

    def serve(self) -> Process:
        self.secret = uuid.uuid4().hex
        command = [sys.executable, "-m", "qa.kms.strict_moto", str(self.port)]
        command += [str(self.server.certificate), str(self.server.key)]
        process = Process(command, self.folder / "moto.log", {SECRET_VARIABLE: self.secret})
        process.wait_for(lambda: listens(self.port))
        self.admin = boto3.client(
            "kms",
            region_name=_REGION,
            endpoint_url=self.address(self.port),
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=self.secret,
            verify=str(self.authority.file),
        )
        return process

    def settings(self) -> Settings:
        key = self.admin.create_key()["KeyMetadata"]["KeyId"]
        fields = {"access_key_id": ACCESS_KEY, "secret_access_key": self.secret}
        signs = self.admin.create_key(KeyUsage="SIGN_VERIFY", KeySpec="ECC_NIST_P256")["KeyMetadata"]["KeyId"]
        options = {"region": _REGION, "ca": "ca.crt", SIGNING_KEY: signs}
        credentials = self.write_credentials("aws", fields)
        return Settings("cloud", self.kind, self.address(self.port), key, credentials, options)

    def refused(self, settings: Settings) -> Settings:
        fields = {"access_key_id": ACCESS_KEY, "secret_access_key": "forged-secret"}
        return replace(settings, credentials=self.write_credentials("forged", fields))

    def revocations(self) -> Mapping[str, Callable[[Settings], None]]:
        return {
            "disabled": lambda settings: self.admin.disable_key(KeyId=settings.key),
            "waits for its deletion": lambda settings: self.admin.schedule_key_deletion(
                KeyId=settings.key, PendingWindowInDays=7
            ),
        }


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Moto]:
    moto = Moto(tmp_path_factory.mktemp("moto"))
    yield moto
    moto.stop()


class TestAws(NetworkCases):
    """With a key's id."""

    def absent_key(self, settings: Settings) -> str:
        return str(uuid.uuid4())


def test_an_access_key_that_is_not_known(place: Moto):
    fields = {"access_key_id": "AKIANOBODYNOBODYNOBO", "secret_access_key": place.secret}
    settings = replace(place.settings(), credentials=place.write_credentials("nobody", fields))
    with place.open(settings, TIMEOUT) as kms, pytest.raises(KmsRefusedError):
        kms.check()


def test_an_alias(place: Moto):
    settings = place.settings()
    place.admin.create_alias(AliasName="alias/tenant", TargetKeyId=settings.key)
    with place.open(replace(settings, key="alias/tenant"), TIMEOUT) as kms:
        sealed = kms.wrap(b"secret", CONTEXT)
        kms.rotate()
        assert kms.unwrap(kms.rewrap(sealed, CONTEXT), CONTEXT) == b"secret"
        kms.destroy()
    assert place.admin.describe_key(KeyId=settings.key)["KeyMetadata"]["KeyState"] == "PendingDeletion"


def test_destroying_waits_as_long_as_is_said(place: Moto):
    for days, more in ((30, {}), (7, {"waiting-days": "7"})):
        fresh = place.settings()
        fresh = replace(fresh, options={**fresh.options, **more})
        with place.open(fresh, TIMEOUT) as kms:
            kms.destroy()
        found = place.admin.describe_key(KeyId=fresh.key)["KeyMetadata"]
        assert round((found["DeletionDate"] - found["CreationDate"]).total_seconds() / 86400) == days


@pytest.mark.parametrize("options", [{}, {"region": _REGION, "waiting-days": "3"}])
def test_options_that_are_not_right(place: Moto, options: dict[str, str]):
    with pytest.raises(KmsSettingsError):
        place.open(replace(place.settings(), options=options), TIMEOUT)


def test_the_environment_does_not_count(place: Moto, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIANOBODYNOBODYNOBO")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "https://localhost:1")
    with place.open(place.settings(), TIMEOUT) as kms:
        kms.check()
