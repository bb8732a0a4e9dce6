"""One gateway process: started, asked whether it is ready, looked at through /proc, ended."""

import os
import pathlib
import signal
import socket
import subprocess
import time

START_SECONDS, STOP_SECONDS = 30, 10
ESTABLISHED = "01"


class Failed(Exception):
    """Why there is no figure."""


class Gateway:
    """A context: the process lives as long as it."""

    def __init__(self, command, http, admin, log, environment=None, mqtt=None):
        self.command, self.http, self.admin, self.mqtt, self.log = command, http, admin, mqtt, log
        self.environment = environment

    def __enter__(self):
        with open(self.log, "ab") as log:
            self.begun = time.monotonic()
            self.process = subprocess.Popen(self.command, stdout=subprocess.DEVNULL, stderr=log, env=self.environment)
        try:
            self.ready_ms = self._wait_ready()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _wait_ready(self):
        """Milliseconds from exec to the first positive answer of /readyz."""
        while True:
            if self.is_ready():
                return (time.monotonic() - self.begun) * 1000
            if self.process.poll() is not None:
                raise Failed(f"the gateway ended with {self.process.returncode}, see {self.log}")
            if time.monotonic() - self.begun > START_SECONDS:
                raise Failed(f"the gateway is not ready after {START_SECONDS} s, see {self.log}")
            time.sleep(0.001)

    def is_ready(self):
        host, port = self.admin.split(":")
        try:
            with socket.create_connection((host, int(port)), 1) as connection:
                connection.sendall(f"GET /readyz HTTP/1.1\r\nhost: {self.admin}\r\n\r\n".encode())
                return connection.recv(64).startswith(b"HTTP/1.1 200")
        except OSError:
            return False

    def resident_kib(self):
        return resident_kib(self.process.pid)

    def cpu_per_event(self, publish):
        """µs for each of the events that `publish` says it has published."""
        before = cpu_seconds(self.process.pid)
        result = publish()
        return (cpu_seconds(self.process.pid) - before) / result["events"] * 1e6

    def broker_connections(self):
        """How many connections it has opened and holds: those that did not come in at its listeners."""
        process = f"/proc/{self.process.pid}"
        own = set()
        for descriptor in os.scandir(f"{process}/fd"):
            try:
                own.add(os.readlink(descriptor.path))
            except FileNotFoundError:
                pass  # closed meanwhile
        listening = {int(address.split(":")[1]) for address in (self.http, self.admin)}
        count = 0
        for table in ("tcp", "tcp6"):
            for line in pathlib.Path(f"{process}/net/{table}").read_text().splitlines()[1:]:
                _, local, _, state, *_, inode = line.split()[:10]
                came_in = int(local.split(":")[1], 16) in listening
                count += state == ESTABLISHED and not came_in and f"socket:[{inode}]" in own
        return count


def resident_kib(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:"))


def cpu_seconds(pid):
    """Of all its threads, in user and system."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
