"""Reads `cargo metadata` and prints the sets of default features that the gateway must also build with, one a line.

Each default feature is left out once, and all of them once; the full set is what every other step builds.
"""

import json
import sys


def main():
    packages = json.load(sys.stdin)["packages"]
    (gateway,) = [package for package in packages if package["name"] == "meshgate"]
    defaults = gateway["features"].get("default", [])
    sets = [[other for other in defaults if other != feature] for feature in defaults] + [[]]
    for line in dict.fromkeys(",".join(features) for features in sets):
        print(line)


main()
