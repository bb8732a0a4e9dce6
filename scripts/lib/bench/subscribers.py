"""Many readers of one channel as server-sent events, held open, and events for them."""

import asyncio

from gateway import Failed

PATIENCE_SECONDS = 60
AT_ONCE = 50


class Subscribers:
    """All in one event loop of its own; to be closed."""

    def __init__(self, address, channel):
        self.address, self.path = address, f"/channels/{channel}"
        self.loop = asyncio.new_event_loop()
        self.streams = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for _, writer in self.streams:
            writer.transport.abort()
        self.loop.run_until_complete(asyncio.sleep(0))
        self.loop.close()

    def open(self, count):
        """Returns once each subscription stands: its first block has come."""
        for first in range(0, count, AT_ONCE):
            self._run(self._subscribe() for _ in range(min(AT_ONCE, count - first)))

    def deliver(self, events):
        """Publishes so many events, and returns once every subscriber has got each of them."""
        receiving = [self._receive(reader, events) for reader, _ in self.streams]
        self._run([self._publish(events), *receiving])

    def publish(self, events):
        self._run([self._publish(events)])

    def _run(self, tasks):
        async def all_of():
            await asyncio.wait_for(asyncio.gather(*tasks), PATIENCE_SECONDS)

        try:
            self.loop.run_until_complete(all_of())
        except TimeoutError:
            raise Failed(f"{len(self.streams)} subscribers: not served within {PATIENCE_SECONDS} s") from None
        except (OSError, asyncio.IncompleteReadError) as problem:
            raise Failed(f"{len(self.streams)} subscribers: {problem}") from None

    async def _request(self, text, body=b""):
        reader, writer = await asyncio.open_connection(*self.address.split(":"))
        writer.write(f"{text}\r\nhost: {self.address}\r\n".encode() + body)
        head = await reader.readuntil(b"\r\n\r\n")
        return reader, writer, head.split(b"\r\n")[0].decode()

    async def _subscribe(self):
        reader, writer, status = await self._request(f"GET {self.path} HTTP/1.1\r\naccept: text/event-stream", b"\r\n")
        if not status.startswith("HTTP/1.1 200"):
            raise Failed(f"subscribing: {status}")
        while not (await reader.readline()).startswith(b"id:"):
            pass
        self.streams.append((reader, writer))

    async def _publish(self, events):
        for _ in range(events):
            body = b"content-type: text/plain\r\ncontent-length: 400\r\nconnection: close\r\n\r\n" + b"x" * 400
            _, writer, status = await self._request(f"POST {self.path} HTTP/1.1", body)
            writer.close()
            if not status.startswith("HTTP/1.1 202"):
                raise Failed(f"publishing: {status}")

    @staticmethod
    async def _receive(reader, events):
        while events:
            line = await reader.readuntil(b"\n")
            events -= line.startswith(b"data:")
