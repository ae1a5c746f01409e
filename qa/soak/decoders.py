"""Whatever bytes come in, a decoder of the format answers a value or a `FormatError`: in full size."""

import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from mgr_fscrypt import format as fmt

from .state import main
from .workers import Cases

_SIZE = 2_000_000
_MASTER = fmt.MasterKey(bytes(range(64)))
_DIRECTORY = fmt.Context(fmt.Policy(_MASTER.identifier), bytes(range(16)))

Decoder = Callable[[bytes], object]


def case(chance: random.Random) -> str | None:
    """One decoder fed with noise, or with something valid that was damaged."""
    name = chance.choice(sorted(_DECODERS))
    decode, valid = _DECODERS[name]
    data = _damaged(valid, chance) if chance.random() < 0.8 else chance.randbytes(chance.randrange(300))
    try:
        decode(data)
    except fmt.FormatError:
        return None
    except Exception as error:  # noqa: BLE001 - that it is another kind is the finding
        return f"{name} of {data.hex()}: {error!r}"
    return None


def _damaged(valid: bytes, chance: random.Random) -> bytes:
    data = bytearray(valid)
    for _ in range(chance.randrange(1, 4)):
        at = chance.randrange(len(data) + 1)
        match chance.randrange(3):
            case 0 if at < len(data):
                data[at] ^= 1 << chance.randrange(8)
            case 1:
                data[at:at] = chance.randbytes(chance.randrange(1, 5))
            case _:
                del data[at : at + chance.randrange(1, 9)]
    return bytes(data)


def _decoders() -> dict[str, tuple[Decoder, bytes]]:
    names, target = fmt.Names(_MASTER, _DIRECTORY), fmt.Target(_MASTER, _DIRECTORY)
    long_name = names.encode(b"n" * 200)
    return {
        "alphabet": (lambda data: fmt.decode_base64(data), fmt.encode_base64(b"some bytes")),
        "context": (fmt.Context.decode, _DIRECTORY.encode()),
        "auth": (fmt.Context.decode_auth, _DIRECTORY.encode_auth()),
        "policy": (fmt.Policy.decode, _DIRECTORY.policy.encode()),
        "engine record": (fmt.EngineRecord.decode, fmt.EngineRecord(_DIRECTORY, 12345).encode()),
        "real size": (fmt.decode_file_size, fmt.encode_file_size(12345)),
        "name": (names.decode, names.encode(b"a name").dname),
        "hashed name": (lambda data: names.decode(long_name.dname, data), long_name.alternate_name),
        "target": (target.decode, target.encode(b"../to/somewhere")),
        "snapshot": (lambda data: fmt.decode_snapshot(names, data), fmt.encode_snapshot(names, b"daily")),
        "inherited snapshot": (fmt.InheritedSnapshot.decode, b"_c29tZQ_1099511627776"),
    }


_DECODERS = _decoders()


@contextmanager
def _cases() -> Iterator[Cases]:
    yield {"decoders": case}


if __name__ == "__main__":
    sys.exit(main("decoders", _SIZE, _cases, sys.argv[1:]))
