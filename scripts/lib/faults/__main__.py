"""scripts/faults: nothing that was confirmed is missing, whatever happens to brokers and gateway."""

import argparse
import asyncio
import signal
import sys

from rig import Failed, Rig
from ways import WAYS


def parse():
    names = "\n".join(f"  {name:<20} {way.__doc__}" for name, way in WAYS.items())
    options = argparse.ArgumentParser(
        prog="scripts/faults",
        description="Compares what was confirmed with what is there, after faults. Exit status 1: something is missing.",
        epilog=f"ways:\n{names}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    options.add_argument("ways", nargs="*", metavar="WAY", help="only these; default: all")
    options.add_argument("--events", type=int, default=100_000, help="of each way; default: %(default)s")
    options.add_argument("--connections", type=int, default=64, help="that publish at once; default: %(default)s")
    arguments = options.parse_args()
    if unknown := [name for name in arguments.ways if name not in WAYS]:
        options.error(f"no such way: {', '.join(unknown)}")
    return arguments


def main():
    arguments = parse()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    all_hold = True
    for name in arguments.ways or WAYS:
        try:
            with Rig() as rig:
                result = asyncio.run(WAYS[name](rig, arguments))
        except Failed as problem:
            sys.exit(f"faults: {name}: {problem}")
        print("\n".join(result.lines()), flush=True)
        all_hold = all_hold and result.holds()
    return int(not all_hold)


sys.exit(main())
