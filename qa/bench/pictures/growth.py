"""``python3 -m qa.bench.pictures.growth < RECORD > FILE.svg``: the seconds that `qa.bench.migrate_growth` took, over
the files of its trees, both axes logarithmic: a line that rises as the grid does is a cost in proportion."""

import json
import sys
from math import log10

_WIDTH, _HEIGHT, _EDGE = 640, 400, 60
_COLOURS = ("#1b6ca8", "#b3541e", "#2e7d32", "#6a1b9a")


def drawn(found: dict[int, dict[str, float]]) -> str:
    """SVG: seconds over files, a line for each step; one that rises as the grid does is in proportion."""
    longest = max(max(took.values()) for took in found.values())
    top = 10 ** -(-log10(longest) // 1)
    least, most = min(found), max(max(found), 10 * min(found))

    def at(count: float, seconds: float) -> tuple[float, float]:
        right = (log10(count) - log10(least)) / (log10(most) - log10(least))
        up = (log10(max(seconds, 0.1)) + 1) / (log10(top) + 1)
        return _EDGE + right * (_WIDTH - 2 * _EDGE), _HEIGHT - _EDGE - up * (_HEIGHT - 2 * _EDGE)

    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif" '
        f'font-size="12">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
    ]
    for count in found:
        (x, below), (_, above) = at(count, 0.1), at(count, top)
        lines.append(f'<path d="M{x:.0f} {below:.0f}V{above:.0f}" stroke="#ddd"/>')
        lines.append(f'<text x="{x:.0f}" y="{below + 18:.0f}" text-anchor="middle">{count} files</text>')
    seconds = 0.1
    while seconds <= top * 1.001:
        (left, y), (right, _) = at(least, seconds), at(most, seconds)
        lines.append(f'<path d="M{left:.0f} {y:.0f}H{right:.0f}" stroke="#ddd"/>')
        lines.append(f'<text x="{left - 6:.0f}" y="{y + 4:.0f}" text-anchor="end">{seconds:g} s</text>')
        seconds *= 10
    for number, (step, colour) in enumerate(zip(found[least], _COLOURS, strict=True)):
        points = " ".join("{:.1f},{:.1f}".format(*at(count, took[step])) for count, took in found.items())
        lines.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
        lines.append(f'<text x="{_EDGE + 10}" y="{_EDGE + 16 * number}" fill="{colour}">{step}</text>')
    return "\n".join([*lines, "</svg>", ""])


def main() -> int:
    """The command."""
    found: dict[int, dict[str, float]] = {}
    for case in json.load(sys.stdin)["cases"]:
        if case["unit"] == "1/s":
            count = int(case["name"].split()[0])
            found.setdefault(count, {})[case["subject"]] = count / case["median"]
    sys.stdout.write(drawn(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
