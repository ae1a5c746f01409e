"""What a bench answers: measured cases, ratios with their bars, and where they were measured."""

import argparse
import json
import os
import subprocess
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from statistics import median


@dataclass(frozen=True)
class Case:
    """One subject in one case: its figure of each run, higher is better, and their median."""

    name: str
    subject: str
    unit: str
    runs: list[float]
    median: float = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "median", median(self.runs))


@dataclass(frozen=True)
class Ratio:
    """A ratio of medians and the bar that it must reach."""

    name: str
    value: float
    bar: float
    ok: bool = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "ok", self.value >= self.bar)


@dataclass(frozen=True)
class Report:
    """A whole run of a bench."""

    commit: str
    ceph: str
    cases: list[Case]
    ratios: list[Ratio]

    @classmethod
    def here(cls, cases: list[Case], ratios: list[Ratio]) -> "Report":
        """A report of this checkout on this machine's Ceph."""
        ceph = subprocess.run(
            ["ceph", "--version"], capture_output=True, text=True, check=True
        ).stdout.strip()
        return cls(os.environ.get("FSCRYPT_QA_COMMIT", "unknown"), ceph, cases, ratios)

    @property
    def ok(self) -> bool:
        """Whether all bars are reached."""
        return all(ratio.ok for ratio in self.ratios)

    def table(self) -> str:
        """The report for people."""
        lines = [f"commit {self.commit}, {self.ceph}", ""]
        for case in self.cases:
            spread = f"{min(case.runs):.3g} to {max(case.runs):.3g}, {len(case.runs)} runs"
            lines.append(f"{case.name:24} {case.subject:14} {case.median:8.3f} {case.unit:6} ({spread})")
        lines.append("")
        for ratio in self.ratios:
            verdict = "ok" if ratio.ok else "MISSED"
            lines.append(f"{ratio.name:40} {ratio.value:8.3f}  bar {ratio.bar:<6g} {verdict}")
        return "\n".join(lines)


def run_bench(description: str, measure: Callable[[], Report]) -> int:
    """A bench's command without choices: print the report, as JSON if asked. 1 when a bar is missed."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return tell(measure, as_json=parser.parse_args().json)


def tell(measure: Callable[[], Report], *, as_json: bool) -> int:
    """Measure, and print the report. 1 when a bar is missed."""
    report = measure()
    print(json.dumps(asdict(report)) if as_json else report.table())
    return 0 if report.ok else 1
