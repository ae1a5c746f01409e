"""The commands of `qa/run`."""

import argparse
import signal
import sys
from collections.abc import Sequence

from . import demo, host, long_runs, manual, newcomer, package, release_check, tests
from .cache import VARIABLE, Cache
from .clusters import NamedClusters, check_name
from .releases import RELEASES, TENTACLE
from .report import LabError, Progress, StepError, tail
from .source import SOURCE

_EPILOG = f"""\
Needs Debian 12 or newer, root, python3 and apt; everything else is brought along and kept in a cache folder
(/var/cache/cephfs-fscrypt-qa, or the one that {VARIABLE} names; delete it whenever nothing runs).

exit codes: 0 done, 1 a check failed or a bar was missed, 2 usage, 3 the lab could not do its work
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; every failure is told in one line, with the last lines of the log that belongs to it."""
    options = _parser().parse_args(arguments)
    progress = Progress()
    # a run that is told to end cleans up like one that is interrupted
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        host.require(progress)
        cache = Cache.from_environment()
        if options.command != "cluster" or options.verb == "up":
            progress.say(f"cache folder: {cache.folder}")
        return _run(options, cache, progress)
    except StepError as error:
        sys.stderr.write(f"{tail(error.log)}\nqa/run: {error}; the lines above are the end of {error.log}\n")
        return 1
    except LabError as error:
        sys.stderr.write(f"qa/run: {error}\n")
        return 3
    except KeyboardInterrupt:
        sys.stderr.write("qa/run: interrupted; everything that this run started has ended\n")
        return 130


def _run(options: argparse.Namespace, cache: Cache, progress: Progress) -> int:
    # Debian has Ceph's dashboard, a browser, and what our packages ask for beside 20.2 alone
    of_no_release = {"browser": long_runs.browser, "newcomer": newcomer.run, "package": package.run}
    if options.command in of_no_release:
        return of_no_release[options.command](cache, progress)
    if options.command == "manual":
        return _manual(options, cache, progress)
    if options.command == "release":
        return release_check.tell(release_check.looked_at(SOURCE, cache))
    release = RELEASES[options.release or TENTACLE.name]
    match options.command:
        case "demo":
            return demo.run(release, cache, progress, keep=options.keep)
        case "test":
            return _test(options, cache, progress)
        case "bench":
            return long_runs.bench(release, cache, progress, options.name, as_json=options.json)
        case "hygiene":
            return long_runs.hygiene(release, cache, progress)
        case "gate":
            return long_runs.gate(release, cache, progress, options.client, as_json=options.json)
        case "soak":
            return long_runs.soak(
                release,
                cache,
                progress,
                options.name,
                size=options.n,
                seed=options.seed,
                jobs=options.jobs,
            )
        case _:
            return _cluster(options, NamedClusters(cache, progress))


def _test(options: argparse.Namespace, cache: Cache, progress: Progress) -> int:
    releases = [RELEASES[options.release]] if options.release else list(RELEASES.values())
    if options.kernel:
        return long_runs.kernel(releases, cache, progress, as_json=options.json)
    match options.files:
        case ["kms", name]:
            return tests.run_kms(name, cache, progress)
        case ["kms", *_]:
            raise LabError("which key manager? `qa/run test kms BACKEND`, or `all`")
        case files:
            return tests.run(releases, cache, progress, only=files)


def _manual(options: argparse.Namespace, cache: Cache, progress: Progress) -> int:
    if options.verb == "build":
        return manual.build(cache, progress)
    return manual.run(cache, progress, options.pages)


def _cluster(options: argparse.Namespace, clusters: NamedClusters) -> int:
    name = check_name(options.name)
    match options.verb:
        case "up":
            return clusters.up(name, RELEASES[options.release or TENTACLE.name])
        case "exec":
            return clusters.execute(name, options.words)
        case verb:
            answer: int = getattr(clusters, verb)(name)
            return answer


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="qa/run",
        description="Boot real Ceph clusters, show the product, test and measure it.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    release = argparse.ArgumentParser(add_help=False)
    release.add_argument("--release", choices=sorted(RELEASES), help="Ceph 20.2 (tentacle) or 18.2 (reef)")

    demo_command = commands.add_parser(
        "demo", parents=[release], help="the product in five minutes, on real input"
    )
    demo_command.add_argument("--keep", action="store_true", help="leave the cluster `demo` running")

    test = commands.add_parser("test", parents=[release], help="lint, types, unit tests and cluster tests")
    test.add_argument(
        "files",
        nargs="*",
        help="only these test files or pytest arguments, on a cluster; or `kms BACKEND`: "
        "a kind of key manager (or `all`) against its real server",
    )
    test.add_argument(
        "--kernel",
        action="store_true",
        help="only the Linux kernel as a witness, in qemu: it reads what the engine wrote, and the other way round",
    )
    test.add_argument("--json", action="store_true", help="with --kernel: print the result for programs")

    soak = commands.add_parser(
        "soak", parents=[release], help="a long test in full size; goes on where it stopped"
    )
    soak.add_argument("name", help="one of qa/soak/")
    soak.add_argument("--n", type=int, help="how many cases (default: the full size)")
    soak.add_argument(
        "--seed", type=int, help="what the cases are drawn from (default: as last time, else random)"
    )
    soak.add_argument(
        "--jobs",
        type=int,
        choices=range(1, 17),
        default=1,
        metavar="N",
        help="how many cases at once, each in a process of its own (up to 16; default: 1)",
    )

    commands.add_parser(
        "browser", help="the pages in a real browser, all of them, with pictures in build/pages"
    )

    manual_command = commands.add_parser("manual", help="the manual: its pages, and the commands in them")
    acts = manual_command.add_subparsers(dest="verb", required=True)
    acts.add_parser("build", help="make its pages, in build/manual")
    run_command = acts.add_parser("run", help="run the commands in them; record in doc/results/manual.json")
    run_command.add_argument(
        "pages", nargs="*", help="only of these, as doc/tutorial.md; then nothing is recorded"
    )

    commands.add_parser("release", help="the list before a release; exit 1 where something is missing")

    commands.add_parser(
        "newcomer",
        help="do what the README says on bare hosts; exit 1 where a first encrypted subtree takes over ten minutes",
    )

    commands.add_parser(
        "package",
        help="make the wheel and Debian's packages; install, use, upgrade and remove them on a bare host",
    )

    commands.add_parser(
        "hygiene", parents=[release], help="use a key in all ways, and search for it where it must not be"
    )

    gate = commands.add_parser(
        "gate",
        parents=[release],
        help="what gating does to clients, beside what it promises; exit 1 if they differ",
    )
    gate.add_argument(
        "--client", choices=("libcephfs", "ceph-fuse", "engine"), required=True, help="a kind of client"
    )
    gate.add_argument("--json", action="store_true", help="print the result for programs")

    bench = commands.add_parser(
        "bench", parents=[release], help="measure side by side; exit 1 if a bar is missed"
    )
    bench.add_argument("name", help="one of qa/bench/")
    bench.add_argument("--json", action="store_true", help="print the result for programs")

    cluster = commands.add_parser("cluster", help="clusters of your own, side by side")
    verbs = cluster.add_subparsers(dest="verb", required=True)
    for verb, what in (
        ("up", "boot it, with our module enabled"),
        ("down", "stop it and keep its data"),
        ("destroy", "stop it and delete its data"),
        ("status", "`ceph -s` and its daemons"),
        ("shell", "a shell inside, with CEPH_CONF set"),
        ("exec", "one command inside"),
    ):
        command = verbs.add_parser(verb, parents=[release], help=what)
        command.add_argument("name", help="letters, digits and dashes")
        if verb == "exec":
            command.add_argument("words", nargs=argparse.REMAINDER, metavar="COMMAND", help="what to run")
    return parser
