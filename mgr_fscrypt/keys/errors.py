"""What keeps a key from being wrapped, unwrapped or stored. No message has a secret in it.

Messages say what happened; `remedy` says what to do next.
"""


class KeyStoreError(Exception):
    """Nothing was changed, unless the message says what was."""

    def __init__(self, happened: str, *, remedy: str = "") -> None:
        super().__init__(happened)
        self.remedy = remedy


class ContainerError(KeyStoreError):
    """A wrapped container is damaged, changed, of another place or of a newer version."""


class WrongSecretError(KeyStoreError):
    """The passphrase, file, code, shares or private key that was given does not open this protector."""


class RefusedError(KeyStoreError):
    """What was asked would be unsafe, such as removing the last protector."""


class NoSuchKeyError(KeyStoreError):
    """No key, protector or tenant of that name."""


class ChangedError(KeyStoreError):
    """Somebody else changed it meanwhile: look again, and try again."""


class DestroyedError(KeyStoreError):
    """The key was destroyed; a tombstone stands in its place."""


class KmsError(KeyStoreError):
    """A key manager did not do what it was asked."""


class KmsSettingsError(KmsError):
    """What was said about it here is not right: its settings, or the file with its credentials."""


class KmsUnreachableError(KmsError):
    """It is down, hangs, or its certificate or ours is not valid (any more). Trying again later may help."""


class KmsRefusedError(KmsError):
    """It does not know our credentials, or they do not allow this."""


class KmsKeyError(KmsError):
    """Its key is not there, disabled, revoked, or waits to be deleted."""


class KmsContextError(KmsError):
    """The wrapped secret was changed, or belongs to another context, key or key manager."""


class KmsAnswerError(KmsError):
    """It answered something that is no answer: cut off, garbled, or of the wrong size."""


class KmsMissingError(KmsError):
    """The library for this kind of key manager is not installed here."""
