"""A certificate of the server's own making, where nobody gave one: by the program openssl, since no cipher
library may be in ceph-mgr."""

import ipaddress
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

DAYS = 825
"""For which it is good: as long as browsers take one for."""
_PATIENCE = 30.0


class CertificateError(Exception):
    """There is no certificate, and why."""


def self_signed(names: tuple[str, ...]) -> str:
    """A key and a certificate for it, as one PEM text.

    Args:
        names: host names and addresses that it is for; the first one is its subject.

    Raises:
        CertificateError: openssl is not there, or does not do it.
    """
    shown = ",".join(f"{'IP' if _is_address(each) else 'DNS'}:{each}" for each in names)
    with TemporaryDirectory(prefix="fscrypt-api-") as folder:
        key, certificate = Path(folder, "key.pem"), Path(folder, "certificate.pem")
        command = (
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc"),
            *("-days", str(DAYS), "-subj", f"/CN={names[0]}", "-addext", f"subjectAltName={shown}"),
            *("-addext", "extendedKeyUsage=serverAuth"),
            *("-keyout", str(key), "-out", str(certificate)),
        )
        try:
            done = subprocess.run(
                command,
                capture_output=True,
                text=True,
                check=False,
                timeout=_PATIENCE,
                stdin=subprocess.DEVNULL,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            msg = f"the program openssl could not make a certificate: {error}"
            raise CertificateError(msg) from error
        if done.returncode != 0:
            msg = f"the program openssl could not make a certificate: {done.stderr.strip()[-500:]}"
            raise CertificateError(msg)
        return key.read_text() + certificate.read_text()


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
