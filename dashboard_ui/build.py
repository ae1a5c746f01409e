"""Make `assets/`: Carbon's tokens and typeface, by npm and sass out of what `carbon/package-lock.json` pins.

    python3 -m dashboard_ui.build [--to FOLDER] [--axe FILE]

Needs npm, whose registry is the host's own setting. The pages are usable without, in the fonts of the browser.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
RECIPE = HERE / "carbon"
ASSETS = HERE / "assets"
_FONTS = {
    "@ibm/plex-sans": (
        "IBMPlexSans-Light-Latin1",
        "IBMPlexSans-Regular-Latin1",
        "IBMPlexSans-SemiBold-Latin1",
    ),
    "@ibm/plex-mono": ("IBMPlexMono-Regular-Latin1",),
}


class BuildError(Exception):
    """It could not be made; the message has the last words of npm or sass. What was there is as it was."""


def build(to: Path, axe: Path | None = None) -> None:
    """Make the assets anew.

    Args:
        to: the folder that they become; what it has is replaced.
        axe: where the checker of accessibility is put, which the tests use; None: nowhere.

    Raises:
        BuildError: npm is not there, or failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        place, made = Path(folder, "npm"), Path(folder, "assets")
        shutil.copytree(RECIPE, place)
        made.mkdir()
        _run(place, "npm", "ci", "--omit=optional", "--loglevel=error")
        modules = place / "node_modules"
        sass = ("node", "node_modules/sass/sass.js", "--no-source-map", "--style=compressed", "--quiet-deps")
        _run(place, *sass, "--load-path=node_modules", "carbon.scss", str(made / "carbon.css"))
        for package, names in _FONTS.items():
            for name in names:
                shutil.copy(modules / package / "fonts/split/woff2" / f"{name}.woff2", made)
        shutil.rmtree(to, ignore_errors=True)
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(made, to)
        if axe is not None:
            axe.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(modules / "axe-core/axe.min.js", axe)


def _run(folder: Path, *command: str) -> None:
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise BuildError(f"there is no {command[0]} on this host: install Debian's npm") from error
    if done.returncode != 0:
        raise BuildError(f"{command[0]} failed: {(done.stderr or done.stdout).strip()[-1000:]}")


def main(arguments: list[str] | None = None) -> int:
    """Make them; give 0, or 1 and tell why."""
    parser = argparse.ArgumentParser(
        prog="python3 -m dashboard_ui.build", description="Make the pages' assets."
    )
    parser.add_argument("--to", type=Path, metavar="FOLDER", default=ASSETS, help="in place of assets/")
    parser.add_argument("--axe", type=Path, metavar="FILE", help="also put axe-core there, for tests")
    options = parser.parse_args(arguments)
    try:
        build(options.to, options.axe)
    except BuildError as error:
        sys.stderr.write(f"dashboard_ui.build: {error}; the assets are as they were\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
