"""What several tests of the format need: fixed keys, contexts, and where the vectors lie."""

from pathlib import Path

from mgr_fscrypt.format import Context, Flags, MasterKey, Mode, Policy

VECTORS = Path(__file__).parents[2] / "vectors"
MASTER = MasterKey(bytes(range(64)))
NONCE = bytes(range(100, 116))


def context(
    flags: Flags = Flags.PAD_32,
    contents: Mode = Mode.AES_256_XTS,
    names: Mode = Mode.AES_256_CTS,
    nonce: bytes = NONCE,
) -> Context:
    """A v2 context under ``MASTER``."""
    return Context(Policy(MASTER.identifier, contents, names, flags), nonce)


ESSIV = context(Flags.PAD_16, Mode.AES_128_CBC, Mode.AES_128_CTS)
