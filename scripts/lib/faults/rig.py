"""Brokers of our own, and a gateway that can be killed."""

import asyncio
import contextlib
import json
import os
import pathlib
import re
import shlex
import signal
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[3]
BROKERS = ROOT / "scripts/brokers"
VARIABLES = {"kafka": "KAFKA_BOOTSTRAP", "pulsar": "PULSAR_URL", "mosquitto": "MQTT_ADDRESS"}
READY_SECONDS = 60


class Failed(Exception):
    """Why there is no result."""


class Rig(contextlib.ExitStack):
    """Temporary folders, and brokers with a state of their own, whatever the environment names. All of it goes at the end."""

    def __init__(self):
        super().__init__()
        self.folder = pathlib.Path(self.enter_context(tempfile.TemporaryDirectory(prefix="meshgate-faults.")))
        state = self.folder / "brokers"
        self.environment = {k: v for k, v in os.environ.items() if k not in (*VARIABLES.values(), "PULSAR_ADMIN_URL")}
        self.environment["MESHGATE_BROKERS_STATE"] = str(state)
        # Saved at every change the store of a subscriber that is behind is written as a whole for each few packets: it never catches up.
        self.environment.setdefault("MOSQUITTO_SAVE", "second")
        self.addresses = {}
        self.binary = os.environ.get("MESHGATE") or self.build()

    def build(self):
        command = ["cargo", "build", "--release", "--locked", "--bin", "meshgate", "--message-format", "json"]
        lines = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
        return next(path for line in reversed(lines) if (path := json.loads(line).get("executable")))

    def run(self, *command):
        command = [str(word) for word in command]
        done = subprocess.run(command, cwd=ROOT, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if done.returncode:
            raise Failed(f"{shlex.join(command)}: {done.stderr}")
        return done.stdout

    def broker(self, name):
        """Its address. It is started at the first call."""
        if name not in self.addresses:
            self.callback(self.run, BROKERS, "down", name)
            self.run(BROKERS, "up", name)
            exports = shlex.split(self.run(BROKERS, "env", name))
            (self.addresses[name],) = [each.split("=", 1)[1] for each in exports if each.startswith(f"{VARIABLES[name]}=")]
        return self.addresses[name]

    async def disturb(self, command, name):
        """`pause`, `resume`, `kill` or `restart` of `scripts/brokers`."""
        await asyncio.to_thread(self.run, BROKERS, command, name)

    def ports(self, count):
        return self.run("python3", ROOT / "scripts/lib/free_ports.py", count).split()


class Gateway:
    """A gateway on fixed ports, with this configuration behind its listeners."""

    def __init__(self, rig, text):
        self.http, self.admin, self.mqtt = (int(port) for port in rig.ports(3))
        self.rig, self.process = rig, None
        self.before, self.delivered = 0, 0
        self.file, self.log = rig.folder / f"{self.http}.yaml", rig.folder / f"{self.http}.log"
        ports = {"http": self.http, "admin": self.admin, "mqtt": self.mqtt}
        listeners = ", ".join(f'{name}: {{ address: "127.0.0.1:{port}" }}' for name, port in ports.items())
        self.file.write_text(f"listeners: {{ {listeners} }}\n{text}")

    async def start(self):
        with open(self.log, "ab") as log:
            command = [self.rig.binary, "--config", self.file]
            self.process = await asyncio.create_subprocess_exec(*command, stdout=log, stderr=log)
        for _ in range(READY_SECONDS * 20):
            if self.process.returncode is not None:
                raise Failed(f"the gateway ended with {self.process.returncode}: {self.log.read_text()[-2000:]}")
            if await self.is_ready():
                return
            await asyncio.sleep(0.05)
        raise Failed(f"the gateway is not ready after {READY_SECONDS} s: {self.log.read_text()[-2000:]}")

    async def ask(self, path):
        """The whole answer of the admin listener; nothing if there is none."""
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.admin)
            writer.write(f"GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".encode())
            answer = await reader.read()
            writer.close()
        except OSError:
            return ""
        return answer.decode()

    async def is_ready(self):
        return " 200 " in (await self.ask("/readyz"))[:20]

    def arrived(self):
        """Events that bridges have delivered, in all its lives; about."""
        return self.before + self.delivered

    async def follow(self):
        while True:
            counts = re.findall(r'subscription_events_total\{.*outcome="delivered"\} (\d+)', await self.ask("/metrics"))
            self.delivered = max(self.delivered, sum(map(int, counts)))
            await asyncio.sleep(0.1)

    async def end(self, how=signal.SIGTERM):
        if self.process and self.process.returncode is None:
            self.process.send_signal(how)
            await self.process.wait()

    async def kill_and_restart(self):
        await self.end(signal.SIGKILL)
        self.before, self.delivered = self.arrived(), 0
        # Not waited for: what it needs may be away.
        with open(self.log, "ab") as log:
            command = [self.rig.binary, "--config", self.file]
            self.process = await asyncio.create_subprocess_exec(*command, stdout=log, stderr=log)
