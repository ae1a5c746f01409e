"""OpenBao, which speaks as Vault does: its real server, over TLS."""

import json
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace

import hvac

from mgr_fscrypt.keys.kms import SIGNING_KEY, Settings
from qa.fakes.ports import free_port
from qa.kms.place import Place, Process, listens, program

_ROOT = str(uuid.uuid4())
_POLICY = """
path "transit/keys/*" { capabilities = ["read", "update", "delete"] }
path "transit/encrypt/*" { capabilities = ["update"] }
path "transit/decrypt/*" { capabilities = ["update"] }
path "transit/rewrap/*" { capabilities = ["update"] }
path "transit/sign/*" { capabilities = ["update"] }
path "transit/verify/*" { capabilities = ["update"] }
"""


class Bao(Place):
    """In its dev mode, so unsealed and in memory; with TLS and AppRole as in earnest."""

    kind = "vault"

    def serve(self) -> Process:
        config = self.folder / "bao.json"
        listener = {
            "address": f"127.0.0.1:{self.port}",
            "tls_cert_file": str(self.server.certificate),
            "tls_key_file": str(self.server.key),
        }
        config.write_text(json.dumps({"listener": [{"tcp": listener}]}))
        config.chmod(0o600)
        command = [program("bao"), "server", "-dev", "-dev-no-store-token"]
        # its dev mode wants a listener of its own, which stays without TLS
        command += [f"-dev-listen-address=127.0.0.1:{free_port()}", f"-config={config}"]
        process = Process(command, self.folder / "bao.log", {"BAO_DEV_ROOT_TOKEN_ID": _ROOT})
        process.wait_for(lambda: listens(self.port))
        self.admin = hvac.Client(self.address(self.port), token=_ROOT, verify=str(self.authority.file))
        process.wait_for(lambda: not self.admin.sys.is_sealed())
        self.admin.sys.enable_secrets_engine("transit")
        self.admin.sys.enable_auth_method("approle")
        self.admin.sys.create_or_update_policy("fscrypt", _POLICY)
        return process

    def settings(self) -> Settings:
        key = f"key-{uuid.uuid4()}"
        self.admin.secrets.transit.create_key(key, derived=True)
        token = self.admin.auth.token.create(policies=["fscrypt"])["auth"]["client_token"]
        credentials = self.write_credentials("vault", {"token": token})
        self.admin.secrets.transit.create_key(f"signs-{key}", key_type="ed25519")
        options = {"ca": "ca.crt", SIGNING_KEY: f"signs-{key}"}
        return Settings("safe", self.kind, self.address(self.port), key, credentials, options)

    def refused(self, settings: Settings) -> Settings:
        return replace(settings, credentials=self.write_credentials("forged", {"token": "s.forged-token"}))

    def revocations(self) -> Mapping[str, Callable[[Settings], None]]:
        transit = self.admin.secrets.transit

        def too_old(settings: Settings) -> None:
            transit.rotate_key(settings.key)
            transit.update_key_configuration(settings.key, min_decryption_version=2)

        def deleted(settings: Settings) -> None:
            transit.update_key_configuration(settings.key, deletion_allowed=True)
            transit.delete_key(settings.key)

        return {"too old": too_old, "deleted": deleted}
