"""What is reported of an encrypted subtree: what joins the rooms `engine` and `messages`, for all who report."""

from .engine import FileSystem
from .messages import Policy, SubtreeFacts


def facts_of(files: FileSystem, path: bytes) -> SubtreeFacts | None:
    """Look at the top directory of a subtree; None when it is not encrypted. No key is needed.

    Raises:
        MessageError: its policy is one that the manager does not know.
    """
    subtree = files.subtree(path)
    if subtree.policy is None or subtree.mode is None:
        return None
    policy = Policy(
        contents=subtree.policy.contents_mode.title,
        names=subtree.policy.names_mode.title,
        padding=subtree.policy.padding,
        key_identifier=subtree.policy.key.hex(),
    )
    return SubtreeFacts(inode=files.stat(path).ino, mode=subtree.mode.value, policy=policy)
