"""Asks an MQTT broker, in MQTT's own protocol, whether it really serves. Standard library only.

    mqtt_probe.py HOST:PORT [--within SECONDS] [--connect-only]

Serving means: it takes a client without a name and password (MQTT 3.1.1, section 3.2). `--connect-only` is for brokers that
this script did not start: those may want TLS or a password, so an accepted connection has to do.
Exit status 0 as soon as it serves, 1 with the reason when the time is over.
"""

import argparse
import socket
import time

# CONNECT: "MQTT", level 4, clean session, keep alive 5 s, no client identifier.
CONNECT = b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x05\x00\x00"
CONNACK_ACCEPTED = b"\x20\x02\x00\x00"
DISCONNECT = b"\xe0\x00"


class NotServing(Exception):
    pass


def check(host, port, connect_only, timeout):
    with socket.create_connection((host, port), timeout=timeout) as connection:
        if connect_only:
            return
        connection.sendall(CONNECT)
        answer = b""
        while len(answer) < len(CONNACK_ACCEPTED):
            part = connection.recv(len(CONNACK_ACCEPTED) - len(answer))
            if not part:
                raise NotServing("the broker closed the connection")
            answer += part
        if answer != CONNACK_ACCEPTED:
            raise NotServing(f"the broker answers {answer.hex(' ')}")
        connection.sendall(DISCONNECT)


def split(address):
    host, _, port = address.strip().rpartition(":")
    return host.strip("[]"), int(port)


def main():
    options = argparse.ArgumentParser()
    options.add_argument("address", type=split)
    options.add_argument("--within", type=float, default=0, metavar="SECONDS")
    options.add_argument("--connect-only", action="store_true")
    arguments = options.parse_args()
    deadline = time.monotonic() + arguments.within
    while True:
        left = max(deadline - time.monotonic(), 0.1)
        try:
            return check(*arguments.address, arguments.connect_only, min(left, 2.0))
        except (OSError, NotServing) as error:
            if time.monotonic() >= deadline:
                raise SystemExit("{}:{}: {}".format(*arguments.address, error)) from None
        time.sleep(0.05)


main()
