"""Metrics in the text format of Prometheus, version 0.0.4.

The library for it, prometheus_client, is in no ceph-mgr's Python; tests hold this against its parser and promtool.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .values import Simplified


@dataclass(frozen=True)
class Family:
    """Metrics of one name.

    Args:
        name: as Prometheus knows it.
        kind: "gauge", or "counter" (its name ends in `_total`).
        help: what it is, in one sentence.
        labels: their names, in order.
    """

    name: str
    kind: str
    help: str
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class Sample:
    """One value of a family, and its labels' values in order."""

    family: Family
    value: float
    labels: tuple[str, ...] = ()

    @property
    def named(self) -> Mapping[str, str]:
        """The labels, by their names."""
        return dict(zip(self.family.labels, self.labels, strict=True))


@dataclass(frozen=True)
class Exposition:
    """Samples, those of one family beside each other."""

    samples: tuple[Sample, ...]

    def simplified(self) -> Simplified:
        """Give plain JSON types."""
        return {
            "metrics": [
                {
                    "name": family.name,
                    "type": family.kind,
                    "help": family.help,
                    "samples": [{"labels": dict(each.named), "value": each.value} for each in samples],
                }
                for family, samples in self._families()
            ]
        }

    def plain(self) -> str:
        """As Prometheus reads it."""
        lines: list[str] = []
        for family, samples in self._families():
            lines += [f"# HELP {family.name} {_help(family.help)}", f"# TYPE {family.name} {family.kind}"]
            lines += [f"{family.name}{_labels(each.named)} {_number(each.value)}" for each in samples]
        return "".join(f"{line}\n" for line in lines)

    def _families(self) -> Sequence[tuple[Family, Sequence[Sample]]]:
        found: dict[Family, list[Sample]] = {}
        for each in self.samples:
            found.setdefault(each.family, []).append(each)
        return tuple(found.items())


def _labels(named: Mapping[str, str]) -> str:
    inner = ",".join(f'{name}="{_value(value)}"' for name, value in named.items())
    return f"{{{inner}}}" if inner else ""


def _value(text: str) -> str:
    # a text without a UTF-8 form would make all of it unreadable
    known = text.encode("utf-8", "backslashreplace").decode()
    return known.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _help(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n")


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else repr(float(value))
