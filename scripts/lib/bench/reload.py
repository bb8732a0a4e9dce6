"""A steady load while the configuration changes, and how long events take meanwhile."""

import asyncio
import json
import statistics
import time
import urllib.request

from gateway import Failed

RATE, CONNECTIONS = 1000, 50
PATIENCE_SECONDS = 20


class Load:
    """Publishes at RATE over CONNECTIONS, each waiting for its answer; remembers when each event was sent and how long it took."""

    def __init__(self, address, channel):
        self.address = address
        head = f"POST /channels/{channel} HTTP/1.1\r\nhost: {address}\r\ncontent-type: text/plain\r\ncontent-length: 100\r\n\r\n"
        self.request = head.encode() + b"x" * 100
        self.sent = []

    async def run(self, put, times, pause):
        """Calls `put` with 1, 2 … up to `times`, `pause` seconds apart, under the load; returns when that was."""
        publishing = [asyncio.create_task(self._publish(number)) for number in range(CONNECTIONS)]
        begun = []
        for number in range(1, times + 1):
            await asyncio.sleep(pause)
            begun.append(time.monotonic())
            put(number)
        await asyncio.sleep(pause)
        for task in publishing:
            task.cancel()
        for ended in await asyncio.gather(*publishing, return_exceptions=True):
            if not isinstance(ended, asyncio.CancelledError):
                raise Failed(f"publishing under reloads: {ended}")
        return begun

    async def _publish(self, number):
        reader, writer = await asyncio.open_connection(*self.address.split(":"))
        every = CONNECTIONS / RATE
        at = time.monotonic() + every * number / CONNECTIONS
        while True:
            await asyncio.sleep(max(0, at - time.monotonic()))
            at += every
            before = time.monotonic()
            writer.write(self.request)
            head = await reader.readuntil(b"\r\n\r\n")
            self.sent.append((before, time.monotonic() - before))
            if not head.startswith(b"HTTP/1.1 202"):
                raise Failed(head.split(b"\r\n")[0].decode())

    def p99_ms(self, begin, end):
        """Of the events that were sent in between."""
        taken = [taken for sent, taken in self.sent if begin <= sent < end]
        return statistics.quantiles(taken, n=100)[98] * 1000


def last_route(admin):
    """The name of the last route that the gateway has."""
    with urllib.request.urlopen(f"http://{admin}/status", timeout=PATIENCE_SECONDS) as answer:
        return json.load(answer)["routes"][-1]["name"]
