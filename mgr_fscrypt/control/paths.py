"""Paths as people write them."""

MAX_PATH = 4096
"""PATH_MAX of Linux, in bytes."""
MAX_NAME = 255
"""NAME_MAX of CephFS, in bytes."""


class PathError(ValueError):
    """A text that is not the path of a directory in a file system."""


def normal(path: str) -> str:
    """Give the one spelling of an absolute path: no doubled slash, none at the end, no ``.``.

    Raises:
        PathError: it is relative, has ``..`` or a NUL in it, is too long, or is not UTF-8.
    """
    shown = path.encode("utf-8", "backslashreplace").decode()
    if not path.startswith("/"):
        msg = f'path "{shown}" does not begin with /'
        raise PathError(msg)
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if ".." in parts:
        msg = f'path "{shown}" has .. in it'
        raise PathError(msg)
    if "\0" in path:
        msg = "the path has a NUL character in it"
        raise PathError(msg)
    try:
        longest = max((len(part.encode()) for part in parts), default=0)
        length = len(path.encode())
    except UnicodeEncodeError as error:
        msg = f'path "{shown}" is not UTF-8'
        raise PathError(msg) from error
    if longest > MAX_NAME or length > MAX_PATH:
        msg = f"the path is too long: at most {MAX_NAME} bytes a name and {MAX_PATH} bytes altogether"
        raise PathError(msg)
    return "/" + "/".join(parts)


def parents(path: str) -> tuple[str, ...]:
    """Give the directories above a normal path, nearest first, the root last; none for the root itself."""
    above = []
    while path != "/":
        path = path.rpartition("/")[0] or "/"
        above.append(path)
    return tuple(above)
