"""PyKMIP's own server, over mutual TLS."""

import sys
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest
from kmip.core import enums
from kmip.pie.client import ProxyKmipClient

from mgr_fscrypt.keys.kms import Settings
from qa.kms.cases import KmsCases, MutualCases
from qa.kms.certificates import Pair
from qa.kms.place import Place, Process, listens

_SERVER = """
import sys
from kmip.services.server import KmipServer
server = KmipServer(
    hostname="127.0.0.1", port=int(sys.argv[1]), certificate_path=sys.argv[2], key_path=sys.argv[3],
    ca_path=sys.argv[4], auth_suite="TLS1.2", config_path=None, log_path=sys.argv[5],
    database_path=sys.argv[6], enable_tls_client_auth=True, policy_path=sys.argv[7],
)
with server:
    server.serve()
"""


class Kmip(Place):
    kind = "kmip"

    def serve(self) -> Process:
        self.alice = self.authority.issue("alice", client=True)
        self.mallory = self.authority.issue("mallory", client=True)
        (self.folder / "policy").mkdir()
        arguments = [str(self.port), self.server.certificate, self.server.key, self.authority.file]
        arguments += [self.folder / "kmip.log", self.folder / "kmip.db", self.folder / "policy"]
        command = [sys.executable, "-c", _SERVER, *(str(argument) for argument in arguments)]
        process = Process(command, self.folder / "server.log")
        process.wait_for(lambda: listens(self.port))
        return process

    def address(self, port: int) -> str:
        return f"localhost:{port}"

    def act(self, what: Callable[[ProxyKmipClient], Any]) -> Any:
        with ProxyKmipClient(
            "localhost",
            self.port,
            cert=str(self.alice.certificate),
            key=str(self.alice.key),
            ca=str(self.authority.file),
            ssl_version="PROTOCOL_TLSv1_2",
        ) as client:
            return what(client)

    def settings(self) -> Settings:
        usage = [enums.CryptographicUsageMask.ENCRYPT, enums.CryptographicUsageMask.DECRYPT]

        def make(client: ProxyKmipClient) -> str:
            uid: str = client.create(enums.CryptographicAlgorithm.AES, 256, cryptographic_usage_mask=usage)
            client.activate(uid)
            return uid

        fresh = Settings("vault", self.kind, self.address(self.port), self.act(make), "", {"ca": "ca.crt"})
        return self.certificate_of_a_client(fresh, self.alice)

    def certificate_of_a_client(self, settings: Settings, pair: Pair) -> Settings:
        certificate, key = (self.credentials / f"{uuid.uuid4()}.pem" for _ in range(2))
        certificate.write_bytes(pair.certificate.read_bytes())
        key.touch(0o600)
        key.write_bytes(pair.key.read_bytes())
        fields = {"certificate": certificate.name, "private_key": key.name}
        return replace(settings, credentials=self.write_credentials(f"kmip-{certificate.stem}", fields))

    def refused(self, settings: Settings) -> Settings:
        return self.certificate_of_a_client(settings, self.mallory)

    def revocations(self) -> Mapping[str, Callable[[Settings], None]]:
        def revoke(code: enums.RevocationReasonCode) -> Callable[[Settings], None]:
            return lambda settings: self.act(lambda client: client.revoke(code, settings.key))

        def destroy(settings: Settings) -> None:
            revoke(enums.RevocationReasonCode.CESSATION_OF_OPERATION)(settings)
            self.act(lambda client: client.destroy(settings.key))

        return {
            "compromised": revoke(enums.RevocationReasonCode.KEY_COMPROMISE),
            "deactivated": revoke(enums.RevocationReasonCode.CESSATION_OF_OPERATION),
            "destroyed": destroy,
        }

    def context_of_a_client(self, settings: Settings) -> Any:
        context = super().context_of_a_client(settings)
        context.load_cert_chain(self.alice.certificate, self.alice.key)
        return context


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kmip]:
    kmip = Kmip(tmp_path_factory.mktemp("kmip"))
    yield kmip
    kmip.stop()


class TestKmip(MutualCases):
    """KMIP 1.4: the server binds the context."""


class TestKmipBefore(KmsCases):
    """KMIP 1.2: our AEAD binds the context. The way there is the same."""

    @pytest.fixture
    def settings(self, place: Kmip) -> Settings:
        settings = place.settings()
        return replace(settings, options={**settings.options, "version": "1.2"})
