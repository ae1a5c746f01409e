"""Fixtures and reports that every room of the tests shares."""

from collections.abc import Iterator

import pytest

from qa.lab.cluster import Cluster


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """The real cluster whose chamber this runs in."""
    return Cluster.current()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what belongs to one release only: on another it is no test, and not a skipped one either."""
    others = [item for item in items if item.get_closest_marker("tentacle")]
    if others and Cluster.current().release != "tentacle":
        config.hook.pytest_deselected(items=others)
        items[:] = [item for item in items if item not in others]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show the sizes at which long tests ran: they print them as `sampled: ...`."""
    for line in sorted(set(_sampled(terminalreporter))):
        terminalreporter.write_line(line)


def _sampled(terminalreporter: pytest.TerminalReporter) -> Iterator[str]:
    for outcome in ("passed", "failed"):
        for report in terminalreporter.stats.get(outcome, []):
            yield from (line for line in report.capstdout.splitlines() if line.startswith("sampled: "))
