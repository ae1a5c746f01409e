"""Vector files as JSON, compressed or not."""

import gzip
import json
import lzma
import zlib
from pathlib import Path
from typing import Any

from .fields import FieldError


def load_vectors(path: Path) -> Any:
    """The file's JSON value. Raises ``FieldError`` if it cannot be read as one."""
    try:
        data = path.read_bytes()
        if path.suffix == ".gz":
            data = gzip.decompress(data)
        elif path.suffix == ".xz":
            data = lzma.decompress(data)
        return json.loads(data)
    except OSError as error:
        raise FieldError(f"{path}: {error}") from None
    except (ValueError, EOFError, RecursionError, lzma.LZMAError, zlib.error) as error:
        raise FieldError(f"{path} is no JSON: {error}") from None
