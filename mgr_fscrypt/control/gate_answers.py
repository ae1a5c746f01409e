"""What the commands about gates answer, and what health tells of them."""

from dataclasses import dataclass

from ..store import Gate, GatedCaps
from .gate_plan import CapsChange, CutOff, Untouched, caps_command
from .text import moment, one_line, shell_word, table
from .values import Simplified

DRIFT = "FSCRYPT_GATE_DRIFT"
UNPROTECTED = "FSCRYPT_UNPROTECTED"
FEATURE = "alternate_name"
"""What `require` asks for: the one feature that a server can ask for, and clients older than fscrypt lack."""
_NAMED = 20


@dataclass(frozen=True)
class GateLine:
    """A gate and how it stands.

    Args:
        fs_name: its file system.
        gate: what was asked for.
        state: "set", "drifted" (what was done is not so any more), "wanted" (not yet done), "ending", "open" (it was
            said that there is to be no gate).
        changes: the caps that have to change for it to be so.
        untouched: the entities that it leaves alone.
        feature: "add", "rm" or empty: what has to be done to the file system's required features.
        inode: of the subtree's top directory; 0: it is not registered any more.
    """

    fs_name: str
    gate: Gate
    state: str
    changes: tuple[CapsChange, ...] = ()
    untouched: tuple[Untouched, ...] = ()
    feature: str = ""
    inode: int = 0

    @property
    def pending(self) -> bool:
        """Is something of it not done yet?"""
        return self.state in ("wanted", "ending")

    def simplified(self) -> Simplified:
        """Give plain JSON types."""
        gate = self.gate
        return {
            "fs_name": self.fs_name,
            "path": gate.path,
            "rung": gate.rung,
            "state": self.state,
            "namespace": gate.namespace,
            "admitted": list(gate.admitted),
            "kept": list(gate.kept),
            "open_paths": list(gate.open_paths),
            "wanted": gate.wanted,
            "applied": gate.applied,
            "trouble": gate.trouble,
            "commands": list(commands(self.fs_name, self.feature, self.changes)),
            "untouched": _left_alone(self.untouched),
        }


@dataclass(frozen=True)
class GatePage:
    """All gates, or one.

    Args:
        gates: in order of file system and path.
        changed: the caps that gates changed.
        detailed: whether a person is shown all, too.
        age: of what was learnt of caps, in seconds.
        trouble: who did not answer the last time.
        current: whether the monitors answered the last time, so that caps may be changed by it.
    """

    gates: tuple[GateLine, ...]
    changed: tuple[GatedCaps, ...]
    detailed: bool
    age: float
    trouble: str
    current: bool

    def simplified(self) -> Simplified:
        """Give plain JSON types."""
        return {
            "gates": [line.simplified() for line in self.gates],
            "restore": [caps_command(each.entity, each.original) for each in self.changed],
            "age": self.age,
            "trouble": self.trouble,
        }

    def plain(self) -> str:
        """Show it to a person."""
        if not self.gates:
            return "No gate is set: clients are only observed."
        rows = [
            (line.fs_name, line.gate.path, line.gate.rung, line.state, ", ".join(line.gate.admitted) or "-")
            for line in self.gates
        ]
        lines = [table(("FILE SYSTEM", "PATH", "RUNG", "STATE", "ADMITTED"), rows)]
        for line in self.gates:
            lines += [one_line(f"{line.gate.path}: {line.gate.trouble}")] * bool(line.gate.trouble)
            lines += _details(line) if self.detailed else []
        if self.detailed and self.changed:
            lines.append("Entities as they were without any gate:")
            lines += [one_line(f"  {caps_command(each.entity, each.original)}") for each in self.changed]
        lines += [one_line(f"not asked: {self.trouble}")] * bool(self.trouble)
        return "\n".join([*lines, f"As the monitors told {self.age:.0f} s ago."])


@dataclass(frozen=True)
class Preview:
    """What a gate would do.

    Args:
        fs_name, path, rung: which gate.
        changes: the caps that would change.
        untouched: who is left alone.
        feature: "add", "rm" or empty: what would be done to the file system's required features.
        cut_off: the sessions that would lose something.
        age: of what was learnt, in seconds.
    """

    fs_name: str
    path: str
    rung: str
    changes: tuple[CapsChange, ...]
    untouched: tuple[Untouched, ...]
    feature: str
    cut_off: tuple[CutOff, ...]
    age: float

    @property
    def commands(self) -> tuple[str, ...]:
        """The lines that do it."""
        return commands(self.fs_name, self.feature, self.changes)

    @property
    def undo(self) -> tuple[str, ...]:
        """The lines that take it back."""
        backwards = {"add": "rm", "rm": "add", "": ""}[self.feature]
        return (*commands(self.fs_name, backwards, ()), *(each.undo for each in self.changes))

    def simplified(self) -> Simplified:
        """Give plain JSON types."""
        return {
            "fs_name": self.fs_name,
            "path": self.path,
            "rung": self.rung,
            "commands": list(self.commands),
            "undo": list(self.undo),
            "untouched": _left_alone(self.untouched),
            "cut_off": [
                {
                    "session": each.client.number,
                    "entity": each.client.entity,
                    "host": each.client.host,
                    "software": each.client.software.value,
                    "root": each.client.root,
                    "loses": each.loses,
                    "keeps": each.keeps,
                }
                for each in self.cut_off
            ],
            "age": self.age,
        }

    def plain(self) -> str:
        """Show it to a person."""
        lines = [f"{self.path} of {self.fs_name}: {self.rung}"]
        if self.commands:
            lines += ["Commands:", *(f"  {line}" for line in self.commands)]
            lines += ["To take it back:", *(f"  {line}" for line in self.undo)]
        else:
            lines += ["Nothing has to change."]
        if self.untouched:
            lines += ["Left alone:", *(f"  {each.entity}: {each.why}" for each in self.untouched)]
        shown = [one_line(line) for line in lines]
        if not self.cut_off:
            return "\n".join([*shown, "No session loses anything.", _as_of(self.age)])
        rows = [
            (
                str(each.client.number),
                each.client.entity,
                each.client.host,
                each.client.software.value,
                each.loses,
                each.keeps or "nothing",
            )
            for each in self.cut_off
        ]
        titles = ("SESSION", "ENTITY", "HOST", "SOFTWARE", "LOSES", "CAN STILL")
        shown += [table(titles, rows, numbers={0})]
        shown += ["Until they connect anew, or are evicted, they keep what they have."]
        return "\n".join([*shown, _as_of(self.age)])


def commands(fs_name: str, feature: str, changes: tuple[CapsChange, ...]) -> tuple[str, ...]:
    """The lines that do to features and caps what has to be done."""
    line = f"ceph fs required_client_features {shell_word(fs_name)} {feature} {FEATURE}"
    return (*([line] if feature else []), *(each.command for each in changes))


def drift_check(page: GatePage) -> Simplified:
    """The health check about gates that are not as they were set; none for none."""
    lines = []
    for line in page.gates:
        where = f"{shell_word(line.fs_name)} {shell_word(line.gate.path)}"
        if line.gate.trouble:
            lines.append(f"{where}: {'not done: ' * line.pending}{line.gate.trouble}")
        elif line.state == "drifted":
            what = [f"the caps of {each.entity} are not as the gate set them" for each in line.changes]
            what += [f"{FEATURE} is no longer required"] * bool(line.feature)
            lines += [f"{where}: {each}" for each in what]
    if not lines:
        return {}
    return {
        DRIFT: {
            "severity": "warning",
            "summary": f"gates of encrypted subtrees are open in {len(lines)} places",
            "count": len(lines),
            "detail": [
                *map(one_line, lines[:_NAMED]),
                "see `ceph fscrypt gate show FS PATH`; close them by `ceph fscrypt gate set FS PATH RUNG`",
            ],
        }
    }


def unprotected_check(page: GatePage) -> Simplified:
    """The health check about registered subtrees that were made with the word that they are to have no gate."""
    lines = [
        f"{shell_word(line.fs_name)} {shell_word(line.gate.path)}"
        for line in page.gates
        if line.state == "open" and line.inode
    ]
    if not lines:
        return {}
    return {
        UNPROTECTED: {
            "severity": "warning",
            "summary": f"{len(lines)} encrypted subtrees are open to clients that do not know encryption",
            "count": len(lines),
            "detail": [
                *map(one_line, lines[:_NAMED]),
                "they were made with --unprotected; copy what is in one into a subtree with a namespace of its own "
                "(`ceph fscrypt subtree create`), or end this warning: `ceph fscrypt gate set FS PATH observe`",
            ],
        }
    }


def _left_alone(untouched: tuple[Untouched, ...]) -> list[Simplified]:
    return [{"entity": each.entity, "why": each.why} for each in untouched]


def _details(line: GateLine) -> list[str]:
    lines = [f"namespace   {line.gate.namespace}"] * bool(line.gate.namespace)
    lines += [f"done        {moment(line.gate.applied)}"] * bool(line.gate.applied)
    lines += [f"to do       {each}" for each in commands(line.fs_name, line.feature, line.changes)]
    lines += [f"left alone  {each.entity}: {each.why}" for each in line.untouched]
    return [one_line(each) for each in lines]


def _as_of(age: float) -> str:
    return f"As the servers told {age:.0f} s ago."
