"""What an examination found, as a person and a program read it."""

from dataclasses import asdict, dataclass
from enum import StrEnum

from .text import one_line, table
from .values import Simplified


class Grade(StrEnum):
    """How it stands with something, from the worst."""

    ERROR = "error"
    WARNING = "warning"
    UNKNOWN = "unknown"
    OK = "ok"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Args:
        check: what was looked at, in one word.
        grade: how it stands.
        found: what was found, in one sentence.
        remedy: what to do; empty where nothing is to be done.
    """

    check: str
    grade: Grade
    found: str
    remedy: str = ""


@dataclass(frozen=True)
class Report:
    """All findings of an examination, in the order of the checks."""

    findings: tuple[Finding, ...]

    @property
    def worst(self) -> Grade:
        """The worst grade of all."""
        grades = {each.grade for each in self.findings}
        return next((grade for grade in Grade if grade in grades), Grade.OK)

    def simplified(self) -> Simplified:
        """Give plain JSON types."""
        return {"worst": self.worst.value, "findings": [asdict(each) for each in self.findings]}

    def plain(self) -> str:
        """Show it to a person."""
        rows: list[tuple[str, str, str]] = []
        for each in self.findings:
            rows.append((each.grade.value, each.check, each.found))
            if each.remedy:
                rows.append(("", "", f"-> {each.remedy}"))
        counted = [(sum(each.grade is grade for each in self.findings), grade.value) for grade in Grade]
        told = ", ".join(f"{number} {grade}" for number, grade in counted if number)
        return f"{table(('STATE', 'CHECK', 'FOUND'), rows)}\n\n{told}"


def listed(names: list[str], most: int = 5) -> str:
    """Names for a sentence: the first of them, and how many there are beside."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return one_line(", ".join(names[:most])) + more
