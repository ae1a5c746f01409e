"""Values of a container's header, checked: whoever may write the store may have put anything there."""

import base64
import binascii

from .errors import ContainerError
from .opener import Parameters


def number(parameters: Parameters, name: str, least: int, most: int) -> int:
    """A whole number within limits. Raises `ContainerError`."""
    found = parameters.get(name)
    if type(found) is not int or not least <= found <= most:
        raise ContainerError(f"its {name} is not a number from {least} to {most}")
    return found


def text(parameters: Parameters, name: str) -> str:
    """A text. Raises `ContainerError`."""
    found = parameters.get(name)
    if not isinstance(found, str):
        raise ContainerError(f"its {name} is no text")
    return found


def octets(parameters: Parameters, name: str, size: int | None = None) -> bytes:
    """Bytes that `encoded` made text of, so many of them. Raises `ContainerError`."""
    try:
        found = base64.b64decode(text(parameters, name), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ContainerError(f"its {name} is not base64") from error
    if size is not None and len(found) != size:
        raise ContainerError(f"its {name} has {len(found)} bytes, not {size}")
    return found


def encoded(data: bytes) -> str:
    """Bytes as a header holds them."""
    return base64.b64encode(data).decode()
