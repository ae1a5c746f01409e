import io

import pytest

from mgr_fscrypt.client.progress import Progress, size_text, time_text


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (5 << 20, "5.0 MiB"),
        (3 << 40, "3.0 TiB"),
        (5000 << 40, "5000.0 TiB"),
    ],
)
def test_sizes(count: int, text: str):
    assert size_text(count) == text


def test_counts_and_rate():
    now = [10.0]
    progress = Progress(None, clock=lambda: now[0])
    assert progress.rate == 0
    now[0] = 12.0
    progress.advance(3000)
    progress.advance(1000)
    progress.entry()
    assert (progress.entries, progress.bytes, progress.seconds, progress.rate) == (1, 4000, 2.0, 2000.0)


def test_draws_on_a_terminal_not_too_often_and_takes_the_line_away():
    now = [0.0]
    terminal = Terminal()
    progress = Progress(terminal, total=2048, clock=lambda: now[0])
    now[0] = 1.0
    for _ in range(1024):
        progress.advance(1)
    assert terminal.getvalue().count("\r") == 1
    now[0] = 2.0
    progress.entry()
    assert " 50% [============            ] 1 entries, 1.0 KiB, 512 B/s" in terminal.getvalue()
    progress.close()
    assert terminal.getvalue().endswith("\r\x1b[K")


def test_entries_without_bytes_have_a_pace_of_their_own():
    now = [0.0]
    terminal = Terminal()
    progress = Progress(terminal, clock=lambda: now[0])
    now[0] = 2.0
    progress.entry()
    now[0] = 4.0
    progress.entry()
    assert terminal.getvalue() == "\r1 entries, 0/s\x1b[K\r2 entries, 0/s\x1b[K"
    now[0] = 4.3
    for _ in range(41):
        progress.entry()
    assert "\r3 entries, 1/s" in terminal.getvalue()


def test_is_silent_elsewhere():
    stream = io.StringIO()
    progress = Progress(stream, total=10)
    progress.advance(10)
    progress.close()
    assert stream.getvalue() == ""


def test_entries_count_where_they_are_expected_and_what_is_left_is_told():
    now = [0.0]
    terminal = Terminal()
    progress = Progress(terminal, 100 << 20, clock=lambda: now[0], entries=100)
    assert (progress.share, progress.left) == (0, None)
    now[0] = 30.0
    progress.reach(50, 0, "2 unreadable")
    assert (progress.share, progress.left) == (0.25, 90.0)
    assert "25% [======                  ] 50 entries, 0 B, 0 B/s, 90 s left; not copied: 2 unreadable" in (
        terminal.getvalue()
    )
    # counted twice, by several passes: nobody knows
    progress.reach(300, 100 << 20)
    assert (progress.share, progress.left) == (1, None)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (119, "119 s"), (120, "2 min"), (7199, "120 min"), (7200, "2 h")]
)
def test_times_of_which_nobody_knows_more(seconds: float, text: str):
    assert time_text(seconds) == text
