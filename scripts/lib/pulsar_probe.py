"""Asks a Pulsar broker whether it really serves. Standard library only.

    pulsar_probe.py --broker pulsar://HOST:PORT [--admin http://HOST:PORT] [--token FILE] [--within SECONDS]

Serving means: its port takes connections, and if the address of its admin API is given, its health check passes and the
namespace public/default is there, which can come a moment later than that.
Exit status 0 as soon as it serves, 1 with the reason when the time is over.
"""

import argparse
import socket
import time
import urllib.request
from urllib.parse import urlsplit

ASKED = ["/admin/v2/brokers/health", "/admin/v2/namespaces/public/default"]


def check(broker, admin, token, timeout):
    place = urlsplit(broker)
    with socket.create_connection((place.hostname, place.port or 6650), timeout=timeout):
        pass
    for path in ASKED if admin else []:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        with urllib.request.urlopen(urllib.request.Request(admin + path, headers=headers), timeout=timeout) as answer:
            answer.read()


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--broker", required=True)
    options.add_argument("--admin")
    options.add_argument("--token", metavar="FILE", type=lambda name: open(name, encoding="ascii").read().strip())
    options.add_argument("--within", type=float, default=0, metavar="SECONDS")
    arguments = options.parse_args()
    deadline = time.monotonic() + arguments.within
    while True:
        left = max(deadline - time.monotonic(), 0.1)
        try:
            return check(arguments.broker, arguments.admin, arguments.token, min(left, 5.0))
        except OSError as error:
            if time.monotonic() >= deadline:
                raise SystemExit(f"{arguments.broker}: {error}") from None
        time.sleep(0.05)


main()
