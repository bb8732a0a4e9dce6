"""Full load on a broker that is frozen, and on a topic whose subscriber does not read: what the gateway holds meanwhile."""

import contextlib
import json
import socket
import subprocess
import threading
import time

from gateway import Failed
from report import at_most

# Of the load: its connections, and the bytes of each event.
CONNECTIONS, BYTES = 500, 4096
AWAY_SECONDS, UNREAD_SECONDS = 60, 20
WARM_SECONDS = 3

MIB = 1 << 20
# As tests/it/hostile/memory.rs reckons them: the program, a connection's buffers, and `limits` of benches/e2e/outage.yaml.
PROGRAM, CONNECTION, IN_FLIGHT, RING, CAPACITY = 48 * MIB, 160 << 10, 16 * MIB, 16 * MIB, 16 * MIB
# What is in flight a client library may hold once more; of the log a live answer may be there twice beside the log itself.
BOUND_MIB = (PROGRAM + CONNECTIONS * CONNECTION + CAPACITY + 2 * IN_FLIGHT + 3 * RING) / MIB


class Watch:
    """A context: looks at the resident memory ten times a second."""

    def __init__(self, gateway):
        self.gateway, self.most_kib, self._over = gateway, 0, threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()

    def _look(self):
        while not self._over.wait(0.1):
            self.most_kib = max(self.most_kib, self.gateway.resident_kib())

    def most_mib(self):
        return self.most_kib / 1024


@contextlib.contextmanager
def load(lua, gateway, channel, seconds):
    """Publishes as fast as it is answered, for so long; whoever reads the process's output knows how much was refused."""
    url = f"http://{gateway.http}/channels/{channel}"
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}", "--timeout", "20", "-s", lua, url, "--", "run", BYTES]
    process = subprocess.Popen([str(each) for each in command], stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


def said(process):
    """Events that were answered, and those of them that were not stored."""
    output, _ = process.communicate()
    (line,) = [line for line in output.splitlines() if line.startswith("{")]
    result = json.loads(line)
    return result["events"], result["errors"]


def row(what, measured):
    most_mib, (answered, refused) = measured
    print(f"  {what}: {answered} events answered, {refused} of them not stored", flush=True)
    return at_most(f"{what}: resident at most, MiB", most_mib, BOUND_MIB, "{:.0f}")


def away(lua, gateway, channel, broker):
    """Freezes the broker under full load; MiB resident at most, and how many events were answered and refused meanwhile."""
    with gateway, Watch(gateway) as watch:
        with load(lua, gateway, channel, WARM_SECONDS) as warm:
            stored, refused = said(warm)
        if refused == stored:
            raise Failed(f"{refused} of {stored} events were refused while the broker was there")
        broker("pause")
        try:
            with load(lua, gateway, channel, AWAY_SECONDS) as process:
                meanwhile = said(process)
        finally:
            broker("resume")
        _comes_back(gateway)
        return watch.most_mib(), meanwhile


def _comes_back(gateway):
    deadline = time.monotonic() + 30
    while not gateway.is_ready():
        if time.monotonic() > deadline:
            raise Failed("the gateway is not ready again within 30 s")
        time.sleep(0.1)


def unread(lua, gateway, channel):
    """A subscriber that reads nothing, under full load; MiB resident at most, and how many events were stored."""
    with gateway, Watch(gateway) as watch, socket.socket() as reader:
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        host, port = gateway.http.split(":")
        reader.connect((host, int(port)))
        reader.sendall(f"GET /channels/{channel} HTTP/1.1\r\nhost: {gateway.http}\r\naccept: text/event-stream\r\n\r\n".encode())
        if not reader.recv(12).startswith(b"HTTP/1.1 200"):
            raise Failed("the subscription does not stand")
        with load(lua, gateway, channel, UNREAD_SECONDS) as process:
            meanwhile = said(process)
        return watch.most_mib(), meanwhile
