"""Devices that publish numbered events over MQTT 5 and keep what was acknowledged. What is not they send again, on as many connections as
it takes.

    devices.py PORT COUNT     prints a line for each acknowledgement: EVENT QOS SENT ACKNOWLEDGED, then one for each reason of a DISCONNECT
                              (`disconnected REASON TIMES`), and at the end `connections COUNT`
"""

import asyncio
import collections
import sys
import time

from tap import PUBACK, PUBLISH, Packets

DEVICES = 8
# QoS 1 and 2 publishes of one device that are under way.
WINDOW = 64
KEYS = 64
DATA = b"x" * 200
AGAIN_SECONDS = 0.05
SESSION_SECONDS = 3600
CONNECT, CONNACK, PUBREC, PUBREL, PUBCOMP, DISCONNECT = 1, 2, 5, 6, 7, 14
CHUNK = 1 << 16
FAILURE, QUOTA_EXCEEDED = 0x80, 0x97


def text(value):
    value = value.encode()
    return len(value).to_bytes(2) + value


def variable(number):
    out = bytearray()
    while True:
        number, byte = number >> 7, number & 127
        out.append(byte | (128 if number else 0))
        if not number:
            return bytes(out)


def packet(first, body):
    return bytes((first,)) + variable(len(body)) + body


class Under:
    """A publish that is not at its end."""

    def __init__(self, event, number, qos):
        self.event, self.qos, self.sent, self.is_released = event, qos, 0.0, False
        attributes = {"specversion": "1.0", "id": event, "source": "/faults", "type": "com.example.fault", "subject": str(number % KEYS)}
        properties = b"".join(b"\x26" + text(name) + text(value) for name, value in attributes.items())
        self.topic, self.rest = text(f"in/{number % KEYS}"), variable(len(properties)) + properties + DATA

    def publish(self, identifier, is_again):
        self.sent = time.time()
        first = PUBLISH << 4 | (8 if is_again else 0) | self.qos << 1
        return packet(first, self.topic + identifier.to_bytes(2) + self.rest)


class Fleet:
    """What `Load` is for HTTP. Of four events one has QoS 2."""

    def __init__(self, port, count, devices=DEVICES, tell=None):
        self.port, self.count, self.connections, self.tell = port, count, devices, tell
        self.numbers = iter(range(count))
        # When each was acknowledged, by event; nothing is left unknown, as it is sent again.
        self.confirmed, self.unknown, self.refused = {}, set(), 0
        self.opened, self.ends, self.latest = 0, collections.Counter(), 0.0

    def answered(self):
        return len(self.confirmed)

    async def until(self, share):
        while self.answered() < share * self.count:
            await asyncio.sleep(0.02)

    async def run(self):
        await asyncio.gather(*(Device(self, f"device-{number}").run() for number in range(self.connections)))

    def acknowledged(self, under):
        now = time.time()
        self.latest = max(self.latest, now - under.sent)
        self.confirmed.setdefault(under.event, now)
        if self.tell:
            self.tell(f"{under.event} {under.qos} {under.sent:.3f} {now:.3f}")


class Device:
    def __init__(self, fleet, name):
        self.fleet, self.name, self.under, self.last = fleet, name, {}, 0
        self.has_all = False

    async def run(self):
        while not (self.has_all and not self.under):
            try:
                await self.connection()
            except (OSError, asyncio.IncompleteReadError):
                await asyncio.sleep(AGAIN_SECONDS)  # the gateway, or the broker behind it, is away

    async def connection(self):
        reader, writer = await asyncio.open_connection("127.0.0.1", self.fleet.port)
        try:
            expiry = b"\x11" + SESSION_SECONDS.to_bytes(4)
            writer.write(packet(CONNECT << 4, text("MQTT") + bytes((5, 0, 0, 0, len(expiry))) + expiry + text(self.name)))
            packets, is_connected = Packets(), False
            while not (self.has_all and is_connected and not self.under):
                data = await reader.read(CHUNK)
                if not data:
                    raise ConnectionResetError
                for first, body in packets.feed(data):
                    if first >> 4 == CONNACK:
                        self.connected(body, writer)
                        is_connected = True
                    else:
                        self.take(first >> 4, body, writer)
                if is_connected:
                    self.fill(writer)
                await writer.drain()
            writer.write(packet(DISCONNECT << 4, b""))
            await writer.drain()
        finally:
            writer.close()

    def connected(self, body, writer):
        if body[1] >= FAILURE:
            raise ConnectionRefusedError
        self.fleet.opened += 1
        is_present = body[0] & 1
        for identifier, under in list(self.under.items()):
            if not under.is_released:
                writer.write(under.publish(identifier, bool(is_present)))
            elif is_present:
                writer.write(packet(PUBREL << 4 | 2, identifier.to_bytes(2)))
            else:
                del self.under[identifier]  # it is taken, and the session knows nothing of it any more

    def take(self, kind, body, writer):
        if kind == DISCONNECT:
            self.fleet.ends[body[0] if body else 0] += 1
            raise ConnectionResetError
        identifier, reason = int.from_bytes(body[:2]), body[2] if len(body) > 2 else 0
        under = self.under[identifier]
        if kind == PUBCOMP:
            del self.under[identifier]
        elif kind not in (PUBACK, PUBREC) or (kind == PUBREC) != (under.qos == 2):
            raise SystemExit(f"{self.name} has got a packet of type {kind} for {under.event} of QoS {under.qos}")
        elif reason == QUOTA_EXCEEDED:
            self.fleet.refused += 1
            writer.write(under.publish(identifier, False))
        elif reason >= FAILURE:
            raise SystemExit(f"{under.event} is answered {reason:#x}")
        else:
            self.fleet.acknowledged(under)
            if kind == PUBACK:
                del self.under[identifier]
            else:
                under.is_released = True
                writer.write(packet(PUBREL << 4 | 2, identifier.to_bytes(2)))

    def fill(self, writer):
        while len(self.under) < WINDOW and not self.has_all:
            number = next(self.fleet.numbers, None)
            if number is None:
                self.has_all = True
                return
            self.last = self.last % 0xFFFF + 1
            while self.last in self.under:
                self.last = self.last % 0xFFFF + 1
            under = self.under[self.last] = Under(f"e{number}", number, 1 if number % 4 else 2)
            writer.write(under.publish(self.last, False))


async def main():
    port, count = map(int, sys.argv[1:])
    fleet = Fleet(port, count, tell=lambda line: print(line, flush=True))
    await fleet.run()
    for reason, times in fleet.ends.items():
        print(f"disconnected {reason:#x} {times}")
    print(f"connections {fleet.opened}")


if __name__ == "__main__":
    asyncio.run(main())
