"""What the code for one kind of key manager has to do: the rest is done once for all of them, in `bounded`."""

from abc import ABC, abstractmethod

from ..errors import KmsError
from .interface import Context, Flags, Sealed


class Backend(ABC):
    """One kind of key manager, through its library. Errors may be the library's own; calls may take what they take.

    Several threads may call at once. What the flags do not promise is never called.
    """

    def limit(self, flags: Flags) -> Flags:
        """What of all that its kind can do, it can with these settings."""
        return flags

    @abstractmethod
    def wrap(self, secret: bytes, context: Context) -> Sealed:
        """See `Kms`."""

    @abstractmethod
    def unwrap(self, sealed: Sealed, context: Context) -> bytes:
        """See `Kms`."""

    def rewrap(self, sealed: Sealed, context: Context) -> Sealed:
        """See `Kms`."""
        raise NotImplementedError

    def forget(self, sealed: Sealed) -> None:  # noqa: B027 - most keep nothing
        """See `Kms`."""

    def rotate(self) -> None:
        """See `Kms`."""
        raise NotImplementedError

    def destroy(self) -> None:
        """See `Kms`."""
        raise NotImplementedError

    def sign(self, data: bytes) -> bytes:
        """See `Kms`."""
        raise NotImplementedError

    def verify(self, data: bytes, signature: bytes) -> bool:
        """See `Kms`."""
        raise NotImplementedError

    def close(self) -> None:  # noqa: B027 - not all have something to close
        """See `Kms`."""

    @abstractmethod
    def explain(self, error: Exception) -> KmsError | None:
        """What an error of the library means; None where it means nothing we know."""
