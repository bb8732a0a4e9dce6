"""MQTT connections that are open and say nothing, or nothing but pings: what a server needs for them."""

import contextlib
import json
import subprocess
import time

from gateway import Failed, cpu_seconds, resident_kib

CONNECTIONS = 10_000
# Each device of the CPU figure pings twice in its keep-alive.
KEEP_ALIVE_SECONDS = 20
SETTLE_SECONDS = 2


@contextlib.contextmanager
def gateway(make, listener="mqtt"):
    """A new one's address and process."""
    with make() as server:
        yield getattr(server, listener), server.process.pid


@contextlib.contextmanager
def mosquitto(rig):
    """Alike: an allocator that has had connections before would need less for new ones."""
    rig.mosquitto()
    rig.do_to_broker("mosquitto", "restart")
    yield rig.mosquitto()


@contextlib.contextmanager
def devices(tool, address, *flags):
    """So many connections, once they all stand; what it yields ends them, and returns what the tool says then."""
    command = [str(each) for each in (tool, "idle", address, "devices", "--connections", CONNECTIONS, *flags)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            if not process.stdout.readline():
                raise Failed(f"the connections to {address} do not stand")
            time.sleep(SETTLE_SECONDS)
            yield lambda: process.communicate()[0]
        finally:
            process.kill()


def memory_kib(tool, server, *flags):
    """Resident, for each connection."""
    with server() as (address, pid):
        time.sleep(SETTLE_SECONDS)
        before = resident_kib(pid)
        with devices(tool, address, *flags):
            return (resident_kib(pid) - before) / CONNECTIONS


def ping_us(tool, server):
    """CPU for each ping."""
    with server() as (address, pid), devices(tool, address, "--keep-alive", KEEP_ALIVE_SECONDS) as end:
        before = cpu_seconds(pid)
        time.sleep(KEEP_ALIVE_SECONDS / 2)
        used = cpu_seconds(pid) - before
        said = json.loads(end() or "{}")
    if not said.get("pings"):
        raise Failed(f"no pings were answered by {address}")
    return used / (said["pings"] / said["seconds"] * KEEP_ALIVE_SECONDS / 2) * 1e6
