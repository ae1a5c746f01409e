"""`qa/run bench|soak|hygiene|gate|browser|test --kernel`: measures, long tests, a search for keys, proofs."""

import json
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from qa.kernel.network import CLUSTER

from . import assets, machine, tools
from .cache import Cache
from .releases import TENTACLE, Release
from .report import LabError, Progress
from .source import SOURCE, copy_source
from .workplace import KEPT, enter


def bench(release: Release, cache: Cache, progress: Progress, name: str, *, as_json: bool) -> int:
    """Run qa/bench/NAME.py on a fresh cluster; its answer is the exit code."""
    _known("bench", name)
    with (
        copy_source(cache, "bench") as source,
        enter(release, source.parent / release.name, cache, progress, source=source) as place,
    ):
        place.boot()
        options = ["--json"] if as_json else []
        return place.chamber.run(
            "python", "-m", f"qa.bench.{name}", *options, environment=place.environment()
        )


def soak(
    release: Release,
    cache: Cache,
    progress: Progress,
    name: str,
    *,
    size: int | None,
    seed: int | None,
    jobs: int,
) -> int:
    """Run qa/soak/NAME.py on a fresh cluster; what it has done is kept, so that a second call goes on. So many
    `jobs` of its cases run at once.

    The record of the last full run is doc/results/NAME.json; on another release than the usual one NAME-RELEASE.json.
    """
    _known("soak", name)
    kept = cache.place("soak", release.name)
    with (
        copy_source(cache, "soak") as source,
        enter(release, source.parent / release.name, cache, progress, source=source, kept=kept) as place,
    ):
        place.boot()
        options = [] if size is None else ["--n", str(size)]
        options += [] if seed is None else ["--seed", str(seed)]
        options += ["--jobs", str(jobs)]
        command = ["python", "-m", f"qa.soak.{name}", "--state", f"{KEPT}/{name}.json", *options]
        code = place.chamber.run(*command, environment=place.environment())
    result = kept / f"{name}.result"
    if result.exists():
        (SOURCE / "doc/results").mkdir(parents=True, exist_ok=True)
        record = f"{name}.json" if release is TENTACLE else f"{name}-{release.name}.json"
        shutil.move(result, SOURCE / "doc/results" / record)
        (kept / f"{name}.json").unlink(missing_ok=True)
        progress.say(f"the record is doc/results/{record}")
    return code


def hygiene(release: Release, cache: Cache, progress: Progress) -> int:
    """Run qa/hygiene on a fresh cluster; its answer is the exit code. With a key manager where there is one (20.2)."""
    with (
        copy_source(cache, "hygiene") as source,
        enter(release, source.parent / release.name, cache, progress, source=source) as place,
    ):
        place.boot()
        code = place.chamber.run("python", "-m", "qa.hygiene", environment=place.environment())
        if code == 0 and release is TENTACLE:
            python = f"{tools.folder_inside()}/kms/bin/python"
            code = place.chamber.run(python, "-m", "qa.hygiene", "managed", environment=place.environment())
        return code


def gate(release: Release, cache: Cache, progress: Progress, client: str, *, as_json: bool) -> int:
    """Run qa/gate on a fresh cluster; its answer is the exit code."""
    with (
        copy_source(cache, "gate") as source,
        enter(release, source.parent / release.name, cache, progress, source=source) as place,
    ):
        place.boot()
        options = ["--json"] if as_json else []
        return place.chamber.run(
            "python", "-m", "qa.gate", "--client", client, *options, environment=place.environment()
        )


def browser(cache: Cache, progress: Progress) -> int:
    """Run the browser tests, all of them, on a fresh cluster of 20.2; pytest's answer is the exit code.

    Pictures of all pages are kept in build/pages of the checkout.
    """
    pictures = SOURCE / "build" / "pages"
    shutil.rmtree(pictures, ignore_errors=True)
    pictures.mkdir(parents=True)
    with copy_source(cache, "browser") as source:
        assets.put(source, cache, progress)
        folder = source.parent / TENTACLE.name
        with enter(TENTACLE, folder, cache, progress, source=source, kept=pictures) as place:
            place.boot()
            files = ["qa/web/test_browser.py", "qa/web/whole_browser.py"]
            command = ["tox", "run", "-q", "--skip-pkg-install", "-e", "web", "--", *files]
            environment = {**place.environment(), "FSCRYPT_QA_SHOTS": KEPT}
            code = place.chamber.run(*command, environment=environment)
    progress.say(f"{len(list(pictures.iterdir()))} pictures are in {pictures.relative_to(SOURCE)}")
    return code


def kernel(releases: Sequence[Release], cache: Cache, progress: Progress, *, as_json: bool) -> int:
    """Run qa/kernel on a fresh cluster of each release, with the kernel of its suite; 1 where something differs.

    What was found is told, and kept in doc/results/kernel.json, by release.
    """
    record = SOURCE / "doc/results/kernel.json"
    found: dict[str, Any] = {}
    for release in releases:
        result = _witnessed(release, cache, progress)
        if result is None:
            return 1
        found[release.name] = result
        kept = json.loads(record.read_text()) if record.exists() else {}
        record.write_text(f"{json.dumps(kept | found, indent=1, sort_keys=True)}\n")
    if as_json:
        sys.stdout.write(f"{json.dumps(found, indent=1)}\n")
    else:
        sys.stdout.writelines(f"{line}\n" for line in _told(found))
    return 1 if any(each["differ"] for each in found.values()) else 0


def _witnessed(release: Release, cache: Cache, progress: Progress) -> dict[str, Any] | None:
    """What the witness wrote down; None where it came to no end."""
    unpacked = machine.obtain(release, cache, progress)
    with (
        copy_source(cache, "kernel") as source,
        enter(
            release, source.parent / release.name, cache, progress, source=source, machine=unpacked
        ) as place,
    ):
        place.step("laying the wire", "python3", "-m", "qa.kernel.network")
        place.boot(CLUSTER)
        file = "kernel.json"
        command = ["python", "-m", "qa.kernel", "--result", f"/cluster/{file}"]
        if place.chamber.run(*command, environment=place.environment()) != 0:
            return None
        found: dict[str, Any] = json.loads((place.folder / "cluster" / file).read_text())
        return found


def _told(found: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    for each in found.values():
        yield f"Linux {each['kernel']} on Ceph {each['ceph']}:"
        yield from (f"  {part}: {count} values" for part, count in each["parts"].items())
        yield from (f"  read again, then right: {path}" for path in each["read_again"])
        for one in each["differences"]:
            yield f"  DIFFERS: {one['part']}: {one['what']}: {one['found']}, not {one['expected']}"
    values, differ = (sum(each[word] for each in found.values()) for word in ("values", "differ"))
    yield f"{values} values, {differ} differ"


def _known(room: str, name: str) -> None:
    there = {path.stem for path in (SOURCE / "qa" / room).glob("[a-z]*.py")} - {"report", "state", "workers"}
    if name not in there:
        raise LabError(f"there is no {room} {name!r}; there are: {', '.join(sorted(there)) or 'none yet'}")
