"""What is told of keys, for programs and for people."""

from ..keys.lockbox import Entry, Lockbox, Tombstone
from .times import moment, span


def value_of(box: Lockbox) -> dict[str, object]:
    """A key, as JSON."""
    return {
        "name": box.name,
        "identifier": box.key,
        "tenant": box.binding.tenant,
        "state": box.state.value,
        "creator": box.creator,
        "created": box.created,
        "expires": box.expires,
        "destroyed_from": box.due,
        "drill_every": box.drill_every,
        "drilled": box.drilled,
        "drill_due": box.drill_due,
        "left": box.left,
        "generation": box.generation,
        "protectors": [protector_value(entry) for entry in box.in_use()],
    }


def buried(tombstone: Tombstone) -> dict[str, object]:
    """A key that was destroyed, as JSON."""
    return {
        "name": tombstone.name,
        "identifier": tombstone.key,
        "state": "destroyed",
        "destroyed": tombstone.destroyed,
        "by": tombstone.by,
    }


def line_of(box: Lockbox) -> str:
    """A key on one line."""
    ways = ", ".join(entry.name for entry in box.in_use())
    return f"{box.key}  {box.state.value:<10}  {box.binding.tenant:<12}  {box.name}  ({ways})"


def buried_line(tombstone: Tombstone) -> str:
    """The same of one that was destroyed."""
    return f"{tombstone.key}  destroyed   {moment(tombstone.destroyed)}, by {tombstone.by}: {tombstone.name}"


def text_of(box: Lockbox, now: float) -> str:
    """All that is known of a key."""
    lines = [
        f"key          {box.name}",
        f"identifier   {box.key}",
        f"tenant       {box.binding.tenant}",
        f"state        {box.state.value}" + (f", from {moment(box.due)} for good" if box.due else ""),
        f"made         {moment(box.created)}, by {box.creator}",
        f"expires      {moment(box.expires)}" + (" (over: replace it)" if 0 < box.expires <= now else ""),
        f"drill        {_drill(box, now)}",
        *(
            [f"left         {moment(box.left)}, as it is: who has that needs no protector"]
            if box.left
            else []
        ),
        "protectors",
    ]
    for entry in box.in_use():
        seen = f"seen to open {moment(entry.proven)}" if entry.proven else "never seen to open"
        made = entry.container.header.protector
        lines.append(f"  {entry.name:<16} {entry.kind:<14} made {moment(made.created)}, {seen}")
        lines.append(f"  {'':<16} {entry.id:<14} by {made.creator}")
    return "\n".join(lines)


def _drill(box: Lockbox, now: float) -> str:
    last = f", last {moment(box.drilled)}" if box.drilled else ""
    if not box.drill_every:
        return f"none asked for{last}"
    return f"every {span(box.drill_every)}{last}" + (" (due now)" if box.drill_due <= now else "")


def protector_value(entry: Entry) -> dict[str, object]:
    """A protector, as JSON."""
    header = entry.container.header
    return {
        "name": entry.name,
        "id": entry.id,
        "kind": entry.kind,
        "creator": header.protector.creator,
        "created": header.protector.created,
        "proven": entry.proven,
        "parameters": {
            name: each for name, each in header.parameters.items() if name not in ("salt", "sealed")
        },
    }
