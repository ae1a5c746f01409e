"""What the commands of all nouns are made with."""

from typing import Any, Optional

import mgr_module

# ceph_argparse of 18.2 takes typing.Optional and not "| None"
MaybeText = Optional[str]  # noqa: UP045
MaybeNumber = Optional[int]  # noqa: UP045


def _command_class() -> Any:
    """Give the release's decorator for commands: 20.2 has a registry for each module (doc/facts.md M3)."""
    if hasattr(mgr_module, "CLICommandBase"):
        return mgr_module.CLICommandBase.make_registry_subtype("FscryptCommand")
    return mgr_module.CLICommand


Command = _command_class()
