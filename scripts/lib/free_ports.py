"""Prints N free TCP ports of 127.0.0.1, one a line.

They lie below the kernel's ephemeral range: a client that reconnects to a killed broker could otherwise be given the
broker's own port as its local one, connect to itself, and keep the broker from starting again.
"""

import random
import socket
import sys

FIRST, LAST = 20000, 29999


def is_free(port):
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def main():
    wanted = int(sys.argv[1])
    ports = []
    for port in random.sample(range(FIRST, LAST + 1), LAST - FIRST + 1):
        if len(ports) == wanted:
            break
        if is_free(port):
            ports.append(port)
    if len(ports) < wanted:
        sys.exit("no free ports")
    print("\n".join(map(str, ports)))


main()
