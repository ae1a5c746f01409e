"""The kinds of key managers: what people are told of each, and how one is opened.

Their libraries are imported when one of the kind is opened: each is an extra of the package.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import KmsMissingError, KmsSettingsError
from .backend import Backend
from .bounded import BoundedKms
from .credentials import Credentials
from .interface import SIGNING_KEY, Flags, Kms, Settings

Connect = Callable[[Settings, Credentials, float], Backend]


@dataclass(frozen=True)
class Kind:
    """One kind of key manager.

    Attributes:
        title: what people are told that it is.
        flags: the most that it can do; one that was opened tells what it can with its settings.
        extra: of the package, with its library.
        connect: imports the library and makes the backend; raises `ImportError` without it.
    """

    title: str
    flags: Flags
    extra: str
    connect: Connect


def open_kms(settings: Settings, credentials: Path, *, timeout: float) -> Kms:
    """Reach a key manager. Nothing is sent to it yet.

    Args:
        settings: which one, and which of its keys.
        credentials: the directory with the files that open key managers.
        timeout: seconds in which each call must have ended.

    Raises:
        KmsSettingsError: there is no such kind, or its credentials or options are not right.
        KmsMissingError: its library is not installed here.
    """
    kind = KINDS.get(settings.kind)
    if kind is None:
        raise KmsSettingsError(
            f"there is no kind of key manager {settings.kind!r}",
            remedy=f"there are {', '.join(sorted(KINDS))}",
        )
    found = Credentials(credentials, settings)
    backend = None
    try:
        backend = kind.connect(settings, found, timeout)
    except ImportError as error:
        raise KmsMissingError(
            f"{kind.title} needs a library that is not installed here ({error.name or error})",
            remedy=f"run `pip install cephfs-fscrypt[{kind.extra}]`",
        ) from error
    except ValueError:
        # what a library says of an address or a credential may repeat it: told below, without a cause
        pass
    if backend is None:
        raise KmsSettingsError(
            f"the library for {kind.title} takes no such address, credentials or options",
            remedy=f"compare the settings of {settings.name} with doc/kms.md",
        )
    flags = replace(kind.flags, sign=signs(settings))
    return BoundedKms(settings, backend, flags, timeout, found.secrets())


def signs(settings: Settings) -> bool:
    """Can it sign, with these settings?"""
    kind = KINDS.get(settings.kind)
    return kind is not None and kind.flags.sign and bool(settings.options.get(SIGNING_KEY))


def _vault(settings: Settings, credentials: Credentials, timeout: float) -> Backend:
    from .vault import Vault

    return Vault(settings, credentials, timeout)


def _aws(settings: Settings, credentials: Credentials, timeout: float) -> Backend:
    from .aws import Aws

    return Aws(settings, credentials, timeout)


def _azure(settings: Settings, credentials: Credentials, timeout: float) -> Backend:
    from .azure import Azure

    return Azure(settings, credentials, timeout)


def _barbican(settings: Settings, credentials: Credentials, timeout: float) -> Backend:
    from .barbican import Barbican

    return Barbican(settings, credentials, timeout)


def _gcp(settings: Settings, credentials: Credentials, timeout: float) -> Backend:
    from .gcp import Gcp

    return Gcp(settings, credentials, timeout)


def _kmip(settings: Settings, credentials: Credentials, timeout: float) -> Backend:
    from .kmip import Kmip

    return Kmip(settings, credentials, timeout)


def _pkcs11(settings: Settings, credentials: Credentials, timeout: float) -> Backend:
    from .pkcs11 import Pkcs11

    return Pkcs11(settings, credentials, timeout)


KINDS: Mapping[str, Kind] = {
    "vault": Kind(
        "HashiCorp Vault or OpenBao, transit engine",
        Flags(rotate=True, rewrap=True, destroy=True, versions=True, sign=True),
        "vault",
        _vault,
    ),
    "aws": Kind("AWS KMS", Flags(rotate=True, rewrap=True, destroy=True, sign=True), "aws", _aws),
    "azure": Kind(
        "Azure Key Vault (untested against the real service)",
        Flags(rotate=True, destroy=True, versions=True, proven=False),
        "azure",
        _azure,
    ),
    "barbican": Kind("OpenStack Barbican", Flags(destroy=True, stores=True), "barbican", _barbican),
    "gcp": Kind(
        "Google Cloud KMS (untested against the real service)",
        Flags(rotate=True, destroy=True, versions=True, proven=False),
        "gcp",
        _gcp,
    ),
    "kmip": Kind("key manager by KMIP 1.2 or newer", Flags(destroy=True), "kmip", _kmip),
    "pkcs11": Kind(
        "hardware security module by PKCS#11",
        Flags(rotate=True, destroy=True, versions=True),
        "pkcs11",
        _pkcs11,
    ),
}
"""By the name that settings give."""
