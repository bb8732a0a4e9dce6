"""scripts/bench: measures, prints every figure, and says which hold."""

import argparse
import os
import platform
import resource
import signal
import subprocess
import sys

from figures import FIGURES
from gateway import Failed
from report import failed, table
from rig import ROOT, Rig

ROUNDS, QUICK_ROUNDS = 5, 2


def parse():
    names = "\n".join(f"  {name:<15} {figure.__doc__}" for name, figure in FIGURES.items())
    options = argparse.ArgumentParser(
        prog="scripts/bench",
        description="Measures the gateway against the bounds that it must hold. Exit status 1: one does not hold.",
        epilog=f"figures:\n{names}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    options.add_argument("figures", nargs="*", metavar="FIGURE", help="only these; default: all")
    options.add_argument("--quick", action="store_true", help=f"{QUICK_ROUNDS} rounds instead of {ROUNDS}")
    arguments = options.parse_args()
    if unknown := [name for name in arguments.figures if name not in FIGURES]:
        options.error(f"no such figure: {', '.join(unknown)}")
    return arguments


def raise_descriptor_limit():
    """For a thousand subscribers in three processes; the children inherit it."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def subject():
    """What is measured, and on what."""
    def git(*command):
        return subprocess.run(["git", *command], cwd=ROOT, stdout=subprocess.PIPE, text=True).stdout.strip()

    changed = " with uncommitted changes" if git("status", "--porcelain") else ""
    binary = f", the binary {os.environ['MESHGATE']}" if os.environ.get("MESHGATE") else ""
    return f"commit {git('rev-parse', '--short', 'HEAD')}{changed}{binary}; {os.cpu_count()} cores, {platform.platform()}"


def measure(rig, names):
    rows, notes = [], []
    for name in names:
        print(f"\n=== {name}: {FIGURES[name].__doc__}", flush=True)
        try:
            for row in FIGURES[name](rig):
                print(f"{row.what}: {row.measured} ({row.bound})", flush=True)
                rows.append(row)
        except Failed as problem:
            print(problem, flush=True)
            rows.append(failed(name, problem))
        notes += [f"{name}: {note}" for note in rig.notes]
        rig.notes.clear()
    return rows, notes


def main():
    arguments = parse()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    raise_descriptor_limit()
    try:
        with Rig(QUICK_ROUNDS if arguments.quick else ROUNDS) as rig:
            rows, notes = measure(rig, arguments.figures or FIGURES)
    except Failed as problem:
        sys.exit(f"bench: {problem}")
    print(f"\n{subject()}\n\n{table(rows)}")
    for note in notes:
        print(f"note: {note}: measure again while nobody else uses the machine")
    return int(any(row.holds is False for row in rows))


sys.exit(main())
