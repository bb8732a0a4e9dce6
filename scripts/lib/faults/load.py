"""Publishes numbered events over several connections at once, and keeps what was answered."""

import asyncio
import time

DATA = b"x" * 200
# What is known not to be stored is sent again, after so long.
AGAIN_SECONDS = 0.05
KEYS = 64
# So that faults meet a bridge and those who publish to it alike. More than a gateway has under way.
AHEAD = 5000


class Load:
    """`arrived` says how many are at their end: no more than AHEAD are to be on their way."""

    def __init__(self, port, count, connections, arrived=None):
        self.port, self.count, self.connections, self.arrived = port, count, connections, arrived
        self.numbers = iter(range(count))
        # When each was confirmed, by id; which nobody knows of; how often one was refused and sent again.
        self.confirmed, self.unknown, self.refused = {}, set(), 0

    def answered(self):
        return len(self.confirmed) + len(self.unknown)

    async def run(self):
        await asyncio.gather(*(self.connection() for _ in range(self.connections)))

    async def until(self, share):
        while self.answered() < share * self.count:
            await asyncio.sleep(0.02)

    async def connection(self):
        stream = None
        for number in self.numbers:
            event, status = f"e{number}", None
            while self.arrived and number > self.arrived() + AHEAD:
                await asyncio.sleep(AGAIN_SECONDS)
            while status is None or status in (429, 503):
                if status is not None:
                    self.refused += 1
                    await asyncio.sleep(AGAIN_SECONDS)
                stream = stream or await self.open()
                try:
                    status = await self.publish(*stream, event, number % KEYS)
                except (OSError, asyncio.IncompleteReadError):
                    stream, status = None, 504
            if status == 202:
                self.confirmed[event] = time.time()
            elif status == 504:
                self.unknown.add(event)
            else:
                raise SystemExit(f"{event} is answered {status}")

    async def open(self):
        while True:
            try:
                return await asyncio.open_connection("127.0.0.1", self.port)
            except OSError:
                await asyncio.sleep(AGAIN_SECONDS)  # the gateway is being started

    async def publish(self, reader, writer, event, key):
        lines = (
            f"POST /channels/in/{key} HTTP/1.1",
            "host: x",
            "ce-specversion: 1.0",
            f"ce-id: {event}",
            "ce-source: /faults",
            "ce-type: com.example.fault",
            f"ce-subject: {key}",
            "content-type: text/plain",
            f"content-length: {len(DATA)}",
        )
        writer.write("\r\n".join((*lines, "", "")).encode() + DATA)
        head = await reader.readuntil(b"\r\n\r\n")
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                await reader.readexactly(int(line.split(b":")[1]))
        return int(head.split()[1])
