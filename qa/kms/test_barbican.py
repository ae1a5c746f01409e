"""Barbican's real server behind a stand-in for Keystone (`barbican_server`)."""

import sys
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import pytest
from barbicanclient.client import Client
from keystoneauth1.identity import v3
from keystoneauth1.session import Session

from mgr_fscrypt.keys.errors import KmsKeyError, KmsSettingsError
from mgr_fscrypt.keys.kms import Settings
from mgr_fscrypt.keys.managed import Managed, forget
from qa.fakes.key_cases import Desk
from qa.fakes.objects import FakeObjects
from qa.kms.barbican_server import IDENTIFIER, IDENTITY, SECRET_VARIABLE
from qa.kms.cases import CONTEXT, TIMEOUT, NetworkCases
from qa.kms.place import LocalPlace, Place, Process, listens


class Barbican(Place):
    kind = "barbican"

    def serve(self) -> Process:
        self.secret = uuid.uuid4().hex
        command = [sys.executable, "-m", "qa.kms.barbican_server", str(self.port)]
        command += [str(self.server.certificate), str(self.server.key), str(self.folder)]
        process = Process(command, self.folder / "barbican.log", {SECRET_VARIABLE: self.secret})
        process.wait_for(lambda: listens(self.port))
        auth = v3.ApplicationCredential(
            self.address(self.port) + IDENTITY,
            application_credential_id=IDENTIFIER,
            application_credential_secret=self.secret,
        )
        session = Session(auth=auth, verify=str(self.authority.file))
        self.admin = Client(session=session, endpoint=self.address(self.port))
        return process

    def settings(self) -> Settings:
        options = {"ca": "ca.crt", "auth-url": self.address(self.port) + IDENTITY}
        credentials = self.with_secret("barbican", self.secret)
        name = f"key-{uuid.uuid4()}"
        return Settings("store", self.kind, self.address(self.port), name, credentials, options)

    def with_secret(self, name: str, secret: str) -> str:
        fields = {"application_credential_id": IDENTIFIER, "application_credential_secret": secret}
        return self.write_credentials(name, fields)

    def at(self, settings: Settings, port: int) -> Settings:
        address = self.address(port)
        return replace(
            settings, address=address, options={**settings.options, "auth-url": address + IDENTITY}
        )

    def refused(self, settings: Settings) -> Settings:
        return replace(settings, credentials=self.with_secret("forged", "forged-secret"))

    def revocations(self) -> Mapping[str, Callable[[Settings], None]]:
        def deleted(settings: Settings) -> None:
            for each in self.admin.secrets.list(name=settings.key):
                each.delete()

        return {"deleted": deleted}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Barbican]:
    barbican = Barbican(tmp_path_factory.mktemp("barbican"))
    yield barbican
    barbican.stop()


class TestBarbican(NetworkCases):
    """Each wrap stores a secret, so a name is no key that must be there."""

    # a blob names a secret, and another name is not there
    changed = (*NetworkCases.changed, KmsKeyError)

    def expect_no_new_wrap(self, reach, place: LocalPlace, settings: Settings) -> None:
        with reach(settings) as kms:
            assert kms.unwrap(kms.wrap(b"new", CONTEXT), CONTEXT) == b"new"

    def test_a_key_that_is_not_there(self, reach, place: LocalPlace, settings):
        self.expect_no_new_wrap(reach, place, settings)


def test_what_is_not_needed_any_more_goes(place: Barbican):
    settings = place.settings()
    with place.open(settings, TIMEOUT) as kms:
        gone, kept = kms.wrap(b"gone", CONTEXT), kms.wrap(b"kept", CONTEXT)
        kms.forget(gone)
        with pytest.raises(KmsKeyError):
            kms.unwrap(gone, CONTEXT)
        assert kms.unwrap(kept, CONTEXT) == b"kept"
        kms.check()
    assert len(place.admin.secrets.list(name=settings.key)) == 1


def test_a_tenants_key_that_is_wrapped_anew_leaves_one_secret_there(place: Barbican):
    settings, tenants = place.settings(), Desk(FakeObjects()).tenants
    with place.open(settings, TIMEOUT) as kms:
        managed = Managed(settings.name, kms)
        tenants.create("acme", managed)
        change = tenants.rewrap("acme", settings.name, managed, [managed])
        assert len(place.admin.secrets.list(name=settings.key)) == 2, (
            "the old one is kept until the new one is seen"
        )
        assert forget((each.container for each in change.unneeded), lambda _: managed) == []
        assert len(place.admin.secrets.list(name=settings.key)) == 1
        assert tenants.newest("acme", [managed])


def test_all_of_a_name_are_destroyed_and_no_others(place: Barbican):
    settings, other = place.settings(), place.settings()
    with (
        place.open(settings, TIMEOUT) as kms,
        place.open(other, TIMEOUT) as neighbour,
    ):
        for _ in range(12):
            kms.wrap(b"secret", CONTEXT)
        kept = neighbour.wrap(b"kept", CONTEXT)
        kms.destroy()
        assert place.admin.secrets.list(name=settings.key) == []
        assert neighbour.unwrap(kept, CONTEXT) == b"kept"


def test_where_keystone_is_must_be_told(place: Barbican):
    with pytest.raises(KmsSettingsError, match="auth-url"):
        place.open(replace(place.settings(), options={}), TIMEOUT)
