"""HTTP/2 without TLS: one server loaded by h2load, its events and its CPU counted. `measure` speaks HTTP/1.1 only."""

import contextlib
import re
import socket
import subprocess
import time

from gateway import START_SECONDS, Failed, cpu_seconds

CONNECTIONS, STREAMS = 64, 4
HEADERS = {
    "ce-specversion": "1.0",
    "ce-type": "com.example.order.created",
    "ce-source": "/yardstick",
    "ce-id": "h2c",
    "ce-time": "2026-01-01T00:00:00Z",
    "content-type": "text/plain",
}


@contextlib.contextmanager
def serving(command, address):
    """A yardstick's process, once it listens."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            host, port = address.split(":")
            begun = time.monotonic()
            while socket.socket().connect_ex((host, int(port))):
                if process.poll() is not None or time.monotonic() - begun > START_SECONDS:
                    raise Failed(f"{command[0]} does not listen on {address}")
                time.sleep(0.01)
            yield process
        finally:
            process.kill()


def load(process, url, data, seconds):
    """Confirmed events/s, and CPU of the server for each of them in µs."""
    command = ["h2load", "-t1", f"-c{CONNECTIONS}", f"-m{STREAMS}", f"-D{seconds}", "-d", str(data)]
    command += [flag for name, value in HEADERS.items() for flag in ("-H", f"{name}: {value}")]
    before = cpu_seconds(process.pid)
    said = subprocess.run([*command, url], stdout=subprocess.PIPE, text=True, check=True).stdout
    used = cpu_seconds(process.pid) - before
    failed, errored = map(int, re.search(r"(\d+) failed, (\d+) errored", said).groups())
    confirmed, *others = map(int, re.findall(r"(\d+) [2345]xx", said))
    if failed or errored or any(others) or not confirmed:
        raise Failed(f"h2load: {failed} failed, {errored} errored, {confirmed} confirmed, other statuses {others}")
    return confirmed / seconds, used / confirmed * 1e6
