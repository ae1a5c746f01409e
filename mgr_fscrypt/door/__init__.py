"""The commands `ceph fscrypt NOUN VERB`, a file for each noun. What they mean is decided in `control`.

Each noun is a class that `module.Module` inherits from; a method that is a command carries its help as docstring,
which ``ceph fscrypt -h`` prints.
"""

from .keys import KeyCommands
from .service import ServiceCommands
from .subtrees import SubtreeCommands

__all__ = ["KeyCommands", "ServiceCommands", "SubtreeCommands"]
