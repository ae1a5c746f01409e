"""What can be wrong with bytes that should be fscrypt's: one shallow tree, every decoder's only exceptions."""


class FormatError(ValueError):
    """Bytes, or a request, that the format does not allow. Nothing was changed."""


class ContextError(FormatError):
    """A policy, context, ``ceph.fscrypt.auth`` value or engine record that is malformed."""


class PolicyRefusedError(FormatError):
    """A well-formed policy that CephFS, or this implementation, does not take: the message names what."""


class MasterKeyError(FormatError):
    """A master key of the wrong length, or another one than the policy names."""


class NameFormatError(FormatError):
    """A directory entry or snapshot name that is not an encrypted name, or decrypts to no possible name."""


class NameTooLongError(NameFormatError):
    """A plain name or target that is longer than the format can hold (ENAMETOOLONG)."""


class HashedNameError(NameFormatError):
    """A name in hashed form (ciphertext above 148 bytes) without its alternate name: it cannot be recovered."""


class TargetFormatError(FormatError):
    """A stored symlink target that is not an encrypted target."""


class ContentsError(FormatError):
    """Contents that are not whole data units, or a position that the format cannot address."""


class SizeFormatError(FormatError):
    """A size that no file can have, or a ``ceph.fscrypt.file`` value that is not one."""
