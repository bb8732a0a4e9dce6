"""A tap on the wire between the gateway and an MQTT 5 broker: what the broker's own word on each event was, and the gateway's.

    tap.py PORT BROKER FILE

Passes on what comes at PORT to BROKER (HOST:PORT) and back, and writes to FILE, a line each: WORD ID SECONDS.

    taken      the broker has confirmed the event to its publisher
    handed     it has given it to a subscriber
    settled    the subscriber has confirmed it to the broker
"""

import asyncio
import sys
import time

PUBLISH, PUBACK = 3, 4
# The user property `id` of a CloudEvent.
ID = b"\x26\x00\x02id"
CHUNK = 1 << 16
FAILURE = 0x80


class Packets:
    """Cuts a stream into packets."""

    def __init__(self):
        self.rest = bytearray()

    def feed(self, data):
        self.rest += data
        at, found = 0, []
        while (size := self.size(at)) and at + size[0] + size[1] <= len(self.rest):
            head, length = size
            found.append((self.rest[at], bytes(self.rest[at + head : at + head + length])))
            at += head + length
        del self.rest[:at]
        return found

    def size(self, at):
        """Bytes of the packet's head and of what follows; none if they are not there yet."""
        length = 0
        for place in range(4):
            if at + 1 + place >= len(self.rest):
                return None
            byte = self.rest[at + 1 + place]
            length |= (byte & 127) << (7 * place)
            if byte < 128:
                return 2 + place, length
        raise ValueError("no MQTT")


def number(body, at):
    return int.from_bytes(body[at : at + 2])


class Way:
    """One direction of one connection: publishes that go this way, and confirmations of those that went the other."""

    def __init__(self, log, sent_word, confirmed_word):
        self.log, self.sent_word, self.confirmed_word = log, sent_word, confirmed_word
        self.packets, self.sent = Packets(), {}
        self.other = None

    def saw(self, data):
        for first, body in self.packets.feed(data):
            if first >> 4 == PUBLISH and first & 6:
                self.published(body)
            elif first >> 4 == PUBACK and (len(body) == 2 or body[2] < FAILURE):
                if event := self.other.sent.pop(number(body, 0), None):
                    self.tell(self.other.confirmed_word, event)

    def published(self, body):
        packet = number(body, 2 + number(body, 0))
        at = body.find(ID)
        if at < 0:
            return
        at += len(ID)
        event = body[at + 2 : at + 2 + number(body, at)].decode()
        self.sent[packet] = event
        self.tell(self.sent_word, event)

    def tell(self, word, event):
        if word:
            self.log.write(f"{word} {event} {time.time():.3f}\n")


async def pump(reader, writer, way):
    try:
        while data := await reader.read(CHUNK):
            way.saw(data)
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


async def serve(port, broker, log):
    host, broker_port = broker.rsplit(":", 1)

    async def tapped(reader, writer):
        try:
            broker_reader, broker_writer = await asyncio.open_connection(host, int(broker_port))
        except OSError:
            writer.close()
            return
        there, back = Way(log, None, "taken"), Way(log, "handed", "settled")
        there.other, back.other = back, there
        await asyncio.gather(pump(reader, broker_writer, there), pump(broker_reader, writer, back))

    server = await asyncio.start_server(tapped, "127.0.0.1", port)
    async with server:
        await server.serve_forever()


def main():
    port, broker, file = sys.argv[1:]
    # A line at a time, so that it can be read while this runs.
    with open(file, "w", buffering=1) as log:
        asyncio.run(serve(int(port), broker, log))


if __name__ == "__main__":
    main()
