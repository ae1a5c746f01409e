"""OpenBao, which speaks as Vault does: its real server, over TLS."""

import json
import uuid
from collections.abc import Iterator
from dataclasses import replace

import hvac
import pytest

from mgr_fscrypt.keys.errors import KmsKeyError, KmsRefusedError, KmsSettingsError
from mgr_fscrypt.keys.kms import Settings
from qa.kms.bao import Bao
from qa.kms.cases import CONTEXT, TIMEOUT, KmsCases, NetworkCases


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bao]:
    bao = Bao(tmp_path_factory.mktemp("bao"))
    yield bao
    bao.stop()


class TestVault(NetworkCases):
    """With a derived key and a token."""


class TestVaultAssociatedData(KmsCases):
    """With a plain key: the context as associated data. The way there is the same."""

    @pytest.fixture
    def settings(self, place: Bao) -> Settings:
        return with_associated_data(place)


def with_associated_data(place: Bao) -> Settings:
    settings = place.settings()
    key = f"plain-{uuid.uuid4()}"
    place.admin.secrets.transit.create_key(key)
    return replace(settings, key=key, options={**settings.options, "binding": "associated-data"})


@pytest.fixture
def role(place: Bao) -> Settings:
    """An AppRole whose tokens live for two uses."""
    approle = place.admin.auth.approle
    approle.create_or_update_approle("fscrypt", token_policies=["fscrypt"], token_num_uses=2)
    fields = {
        "role_id": approle.read_role_id("fscrypt")["data"]["role_id"],
        "secret_id": approle.generate_secret_id("fscrypt")["data"]["secret_id"],
    }
    return replace(place.settings(), credentials=place.write_credentials("role", fields))


def test_a_role_logs_in_anew_when_its_token_has_run_out(place: Bao, role: Settings):
    with place.open(role, TIMEOUT) as kms:
        for _ in range(4):
            assert kms.unwrap(kms.wrap(b"secret", CONTEXT), CONTEXT) == b"secret"


@pytest.mark.parametrize("field", ["role_id", "secret_id"])
def test_a_role_that_is_not_known(place: Bao, role: Settings, field: str):
    fields = json.loads((place.credentials / role.credentials).read_text()) | {field: str(uuid.uuid4())}
    forged = replace(role, credentials=place.write_credentials("no-role", fields))
    with place.open(forged, TIMEOUT) as kms, pytest.raises(KmsRefusedError):
        kms.check()


def test_a_key_that_would_bind_nothing(place: Bao):
    derived, plain = place.settings(), with_associated_data(place)
    for settings in (
        replace(derived, options=plain.options),
        replace(plain, options=derived.options),
    ):
        with place.open(settings, TIMEOUT) as kms:
            with pytest.raises(KmsSettingsError, match=settings.key) as caught:
                kms.wrap(b"secret", CONTEXT)
            assert "binding=" in caught.value.remedy


def test_a_key_that_is_not_there_is_not_made(place: Bao):
    settings = replace(place.settings(), key="typo")
    with place.open(settings, TIMEOUT) as kms, pytest.raises(KmsKeyError):
        kms.wrap(b"secret", CONTEXT)
    with pytest.raises(hvac.exceptions.InvalidPath):
        place.admin.secrets.transit.read_key("typo")


def test_another_mount(place: Bao):
    place.admin.sys.enable_secrets_engine("transit", path="elsewhere")
    place.admin.secrets.transit.create_key("key", derived=True, mount_point="elsewhere")
    root = place.write_credentials("root", {"token": place.admin.token})
    options = {"ca": "ca.crt", "mount": "elsewhere"}
    settings = replace(place.settings(), key="key", credentials=root, options=options)
    with place.open(settings, TIMEOUT) as kms:
        kms.check()


def test_a_namespace(place: Bao):
    place.admin.sys.create_namespace("blue")
    inside = hvac.Client(
        place.address(place.port), token=place.admin.token, namespace="blue", verify=str(place.authority.file)
    )
    inside.sys.enable_secrets_engine("transit")
    inside.secrets.transit.create_key("key", derived=True)
    root = place.write_credentials("root", {"token": place.admin.token})
    options = {"ca": "ca.crt", "namespace": "blue"}
    settings = replace(place.settings(), key="key", credentials=root, options=options)
    with place.open(settings, TIMEOUT) as kms:
        kms.check()
