"""The audit's head, signed by key managers: who can write the records and cannot sign changes none of them unseen.

A signature is a record itself (act `sign`), so that it is in the chain, too. It names the record that it is of by
number and digest, and thereby all records before that one.
"""

import base64
import binascii
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from .audit import Audit, Record
from .binding import TENANT
from .errors import KeyStoreError

ACT = "sign"
_KEY = re.compile(r"records up to ([0-9]{1,15}) \(([0-9a-f]{64})\)")
_RESULT = re.compile(rf"signed by ({TENANT.pattern}): ([A-Za-z0-9+/=]+)")


class Signer(Protocol):
    """As `managed.Managed`."""

    @property
    def name(self) -> str:
        """What it is called here."""

    def sign(self, data: bytes) -> bytes:
        """A signature."""

    def has_signed(self, data: bytes, signature: bytes) -> bool:
        """Did it sign exactly this?"""


class Verdict(Enum):
    """What came of checking a signature."""

    GOOD = "good"
    WRONG = "wrong"
    """Its key manager did not sign this chain: records were changed, or it was made up."""
    UNCHECKED = "unchecked"
    """Its key manager is not known here, or does not answer us."""


@dataclass(frozen=True)
class Checked:
    """One signature.

    Attributes:
        record: the number of the record that holds it.
        upto: the number of the record that it is of.
        manager: the name of the key manager.
        verdict: what came of it.
        reason: why it is not good.
    """

    record: int
    upto: int
    manager: str
    verdict: Verdict
    reason: str = ""


class Signatures:
    """Signatures in the audit of one file system's keys.

    Args:
        audit: where they lie.
        fsid, fscid: the cluster and the file system, which are signed with it.
    """

    def __init__(self, audit: Audit, fsid: str, fscid: int) -> None:
        self._audit = audit
        self._place = f"{fsid} {fscid}"

    def sign(self, signer: Signer) -> Record:
        """Have the newest record signed; the record that holds the signature.

        Raises:
            RefusedError: it has no key that signs.
            KmsError: it does not.
            ContainerError: the audit cannot be read.
        """
        number, digest = self._audit.head()
        signature = base64.b64encode(signer.sign(self._statement(number, digest))).decode()
        return self._audit.record(
            ACT, f"records up to {number} ({digest})", f"signed by {signer.name}: {signature}"
        )

    def checked(
        self, records: Iterable[Record], signers: Callable[[str], Signer]
    ) -> Iterator[tuple[Record, Checked | None]]:
        """Each of the records, whose chain was checked, with what came of the signature in it.

        Args:
            records: all of them, from the first one on.
            signers: a key manager by its name; raises `KeyStoreError`.
        """
        digests = {0: "0" * 64}
        away: dict[str, str] = {}
        for record in records:
            yield record, self._check(record, digests, away, signers) if record.act == ACT else None
            digests[record.number] = record.digest

    def _check(
        self,
        record: Record,
        digests: dict[int, str],
        away: dict[str, str],
        signers: Callable[[str], Signer],
    ) -> Checked:
        about, result = _KEY.fullmatch(record.key), _RESULT.fullmatch(record.result)
        if about is None or result is None:
            return Checked(record.number, 0, "", Verdict.WRONG, "it is not as signatures are written")
        number, digest, manager = int(about[1]), about[2], result[1]
        if digests.get(number) != digest:
            return Checked(record.number, number, manager, Verdict.WRONG, "it is of another record")
        # who did not answer once is not waited for again
        if manager not in away:
            try:
                signature = base64.b64decode(result[2], validate=True)
                if signers(manager).has_signed(self._statement(number, digest), signature):
                    return Checked(record.number, number, manager, Verdict.GOOD)
            except binascii.Error:
                return Checked(record.number, number, manager, Verdict.WRONG, "it is no base64")
            except KeyStoreError as error:
                away[manager] = str(error)
            else:
                return Checked(record.number, number, manager, Verdict.WRONG, f"{manager} did not sign this")
        return Checked(record.number, number, manager, Verdict.UNCHECKED, away[manager])

    def _statement(self, number: int, digest: str) -> bytes:
        """What is signed; it never changes."""
        return f"cephfs-fscrypt audit\n{self._place}\n{number} {digest}\n".encode()
