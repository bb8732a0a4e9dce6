"""Asks a Kafka broker, in Kafka's own protocol, whether it really serves. Standard library only.

    kafka_probe.py HOST:PORT[,HOST:PORT…] [--within SECONDS] [--connect-only]

Serving means: a broker is registered, every partition has a leader, and the group coordinator answers (asking for it
also makes the broker create its offsets topic now and not under the first consumer). `--connect-only` is for brokers
that this script did not start: those may speak TLS, so an accepted connection has to do.
Exit status 0 as soon as it serves, 1 with the reason when the time is over.
"""

import argparse
import socket
import struct
import time

METADATA, FIND_COORDINATOR = 3, 10
ANSWER_LIMIT = 64 * 1024 * 1024


class NotServing(Exception):
    pass


class Reader:
    """Reads the protocol's primitive types from one answer."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, form):
        (value,) = struct.unpack_from(form, self.data, self.at)
        self.at += struct.calcsize(form)
        return value

    def int16(self):
        return self.take(">h")

    def int32(self):
        return self.take(">i")

    def flag(self):
        return self.take(">?")

    def text(self):
        length = self.int16()
        if length < 0:
            return None
        self.at += length
        return self.data[self.at - length : self.at].decode()

    def array(self, item):
        return [item() for _ in range(self.int32())]


def text(value):
    return struct.pack(">h", len(value)) + value.encode()


def receive(connection, length):
    data = b""
    while len(data) < length:
        part = connection.recv(length - len(data))
        if not part:
            raise NotServing("the broker closed the connection")
        data += part
    return data


def ask(connection, api, version, body):
    request = struct.pack(">hhi", api, version, 1) + text("meshgate-probe") + body
    connection.sendall(struct.pack(">i", len(request)) + request)
    (length,) = struct.unpack(">i", receive(connection, 4))
    if not 4 <= length <= ANSWER_LIMIT:
        raise NotServing("this is no Kafka broker")
    answer = Reader(receive(connection, length))
    answer.int32()  # the correlation id
    return answer


def check_metadata(connection):
    every_topic = struct.pack(">i", -1)
    answer = ask(connection, METADATA, 1, every_topic)
    brokers = answer.array(lambda: (answer.int32(), answer.text(), answer.int32(), answer.text()))
    if not brokers:
        raise NotServing("no broker is registered yet")
    answer.int32()  # the controller

    def partition():
        answer.int16()
        number, leader = answer.int32(), answer.int32()
        answer.array(answer.int32)
        answer.array(answer.int32)
        return number, leader

    def topic():
        answer.int16()
        name = answer.text()
        answer.flag()
        return name, answer.array(partition)

    for name, partitions in answer.array(topic):
        for number, leader in partitions:
            if leader < 0:
                raise NotServing(f"{name}:{number} has no leader yet")


def check_coordinator(connection):
    error = ask(connection, FIND_COORDINATOR, 0, text("meshgate-probe")).int16()
    if error:
        raise NotServing(f"the group coordinator answers with error {error}")


def check(host, port, connect_only, timeout):
    with socket.create_connection((host, port), timeout=timeout) as connection:
        if connect_only:
            return
        check_metadata(connection)
        check_coordinator(connection)


def split(address):
    host, _, port = address.strip().rpartition(":")
    return host.strip("[]"), int(port)


def wait(addresses, connect_only, within):
    deadline = time.monotonic() + within
    while True:
        for host, port in addresses:
            left = max(deadline - time.monotonic(), 0.1)
            try:
                return check(host, port, connect_only, min(left, 2.0))
            except (OSError, struct.error, NotServing) as error:
                reason = f"{host}:{port}: {error}"
        if time.monotonic() >= deadline:
            raise SystemExit(reason)
        time.sleep(0.05)


def main():
    options = argparse.ArgumentParser()
    options.add_argument("addresses", type=lambda value: [split(address) for address in value.split(",")])
    options.add_argument("--within", type=float, default=0, metavar="SECONDS")
    options.add_argument("--connect-only", action="store_true")
    arguments = options.parse_args()
    wait(arguments.addresses, arguments.connect_only, arguments.within)


main()
