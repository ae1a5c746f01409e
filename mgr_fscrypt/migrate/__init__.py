"""Existing data into another form, where it lies: plain to encrypted, under another key, and back (doc/migration.md).

`look_over` says what would happen, `Migration` does it, `compare` proves it. All of it depends on the `Mount` protocol
and on `engine.FileSystem` only.
"""

from .comparing import compare
from .files import Copied
from .looking import look_over
from .migration import Late, Migration, Step
from .plan import Obstacle, Plan, Way
from .record import Direction, Record, State
from .verdict import Verdict

__all__ = [
    "Copied",
    "Direction",
    "Late",
    "Migration",
    "Obstacle",
    "Plan",
    "Record",
    "State",
    "Step",
    "Verdict",
    "Way",
    "compare",
    "look_over",
]
