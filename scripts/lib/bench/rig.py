"""What the figures are measured with: the binaries, the broker, free ports, configurations, `measure`."""

import contextlib
import json
import os
import pathlib
import re
import shlex
import subprocess
import tempfile

import h2c
from comparison import Comparison
from gateway import Failed, Gateway

ROOT = pathlib.Path(__file__).resolve().parents[3]
BROKERS = ROOT / "scripts/brokers"
CONFIGURATIONS = ROOT / "benches/e2e"
# One partition, because the gateway keeps the order of a channel and the yardstick spreads: with more, their batches would differ.
# The retention is for the disk: each side writes some gigabytes.
TOPIC = ("--partitions", "1", "--if-not-exists", "--config", "retention.bytes=268435456", "--config", "segment.bytes=67108864")

HUNDRED = 100
# Of a load tool that does not go through `measure`: each run, and the data of each event.
SECONDS, BYTES = 5, 400


class Rig(contextlib.ExitStack):
    def __init__(self, rounds):
        super().__init__()
        self.rounds, self.brokers, self.notes, self.load_tools = rounds, {}, [], {}
        self.yardstick_dir = pathlib.Path(os.environ.get("YARDSTICK_DIR", ROOT.parent / "shared/yardstick")).resolve()
        if not (self.yardstick_dir / "measure").exists():
            raise Failed(f"no `measure` in {self.yardstick_dir}: set YARDSTICK_DIR")
        self.folder = pathlib.Path(self.enter_context(tempfile.TemporaryDirectory(prefix="meshgate-bench.")))
        self.binary = given("MESHGATE") or build(ROOT / "Cargo.toml", "meshgate")
        self.yardstick = given("YARDSTICK") or build(self.yardstick_dir / "Cargo.toml", "yardstick", cache_dir() / "yardstick")

    def stripped_bytes(self):
        stripped = self.folder / "stripped"
        output("strip", "-o", stripped, self.binary)
        return stripped.stat().st_size

    def address(self):
        port = output("python3", ROOT / "scripts/lib/free_ports.py", "1").strip()
        return f"127.0.0.1:{port}"

    def embedded_default(self):
        """A gateway with the configuration that is built in, on free ports."""
        text = (ROOT / "config/default.yaml").read_text()
        http, admin = self.address(), self.address()
        for built_in, free in (("127.0.0.1:8080", http), ("127.0.0.1:1883", self.address()), ("127.0.0.1:9090", admin)):
            if text.count(built_in) != 1:
                raise Failed(f"config/default.yaml does not name {built_in} once")
            text = text.replace(built_in, free)
        file = self.folder / "default.yaml"
        file.write_text(text)
        return self.gateway(file, http, admin)

    def kafka_gateway(self, configuration):
        return self.broker_gateway(configuration, self.kafka())

    def broker_gateway(self, configuration, address):
        """A gateway in front of the broker that has this address."""
        http, admin, mqtt = self.address(), self.address(), self.address()
        variables = {"HTTP": http, "ADMIN": admin, "MQTT": mqtt, "BROKER": address}
        return self.gateway(CONFIGURATIONS / configuration, http, admin, os.environ | variables, mqtt)

    def many_routes(self, configuration):
        """Such a gateway whose routes have HUNDRED - 1 others before them, and a filter; with `kafka` it needs the broker."""
        http, admin = self.address(), self.address()
        broker = self.kafka() if configuration == "kafka" else ""
        connector = {
            "memory": "{ kind: memory, capacity: 64MiB }",
            "kafka": f'{{ kind: kafka, brokers: ["{broker}"], properties: {{ linger.ms: "1" }} }}',
        }[configuration]
        filters = """filters: [{ sql: "type LIKE 'com.example.%' AND EXISTS source" }]"""
        to = 'to: [{ connector: c, topic: "orders.{region}" }]'
        others = [
            f'  - {{ name: other-{n}, channel: "orders/{{region}}", filters: [{{ exact: {{ type: "com.acme.t{n}" }} }}], {to} }}'
            for n in range(1, HUNDRED)
        ]
        lines = [
            f'listeners: {{ http: {{ address: "{http}" }}, admin: {{ address: "{admin}" }} }}',
            f"connectors: {{ c: {connector} }}",
            "routes:",
            *others,
            f'  - {{ name: orders, channel: "orders/{{region}}", {filters}, {to} }}',
        ]
        file = self.folder / f"routes-{configuration}.yaml"
        file.write_text("\n".join(lines) + "\n")
        return self.gateway(file, http, admin)

    def reloading_gateway(self, routes, times):
        """A gateway whose file has so many routes, the last for every channel; and what puts the edition of a number, up to `times`, in
        its place: with other routes, and the number in the name of the last."""
        http, admin = self.address(), self.address()
        to = "to: [{ connector: c, topic: events }]"

        def edition(number):
            others = [
                f'  - {{ name: r{n}, channel: "orders/{{region}}", filters: [{{ exact: {{ type: "t{number}.{n}" }} }}], {to} }}'
                for n in range(1, routes)
            ]
            lines = [
                f'listeners: {{ http: {{ address: "{http}" }}, admin: {{ address: "{admin}" }} }}',
                "connectors: { c: { kind: memory, capacity: 64MiB } }",
                "routes:",
                *others,
                f'  - {{ name: all-{number}, channel: "#", {to} }}',
            ]
            file = self.folder / f"edition-{number}.yaml"
            file.write_text("\n".join(lines) + "\n")
            return file

        file, *later = [edition(number) for number in range(times + 1)]
        return self.gateway(file, http, admin), lambda number: later[number - 1].replace(file)

    def gateway(self, file, http, admin, environment=None, mqtt=None):
        return Gateway([self.binary, "--config", file], http, admin, self.folder / "log", environment, mqtt)

    def kafka(self):
        return self.broker("kafka", "KAFKA_BOOTSTRAP").split(",")[0]

    def broker(self, name, variable):
        """The broker's address, as `variable` of `scripts/brokers env` has it; it is started at the first call."""
        if name not in self.brokers:
            if not self.brokers:
                os.environ["MESHGATE_BROKERS_STATE"] = self.enter_context(tempfile.TemporaryDirectory(prefix="meshgate-bench."))
            self.callback(subprocess.run, [BROKERS, "down", name])
            os.environ.setdefault("MOSQUITTO_SAVE", "second")  # how fast it writes its sessions is not what is measured
            output(BROKERS, "up", name)
            exports = shlex.split(output(BROKERS, "env", name))
            (self.brokers[name],) = [each.split("=", 1)[1] for each in exports if each.startswith(f"{variable}=")]
        return self.brokers[name]

    def mosquitto(self):
        """Its address, and its process."""
        address = self.broker("mosquitto", "MQTT_ADDRESS")
        found = re.search(r"pid=(\d+)", output(BROKERS, "status", "mosquitto"))
        if not found:
            raise Failed(f"the process of the broker at {address} is not known: unset MQTT_ADDRESS, so that one is started")
        return address, int(found[1])

    def brokers_away(self):
        """Each broker, and the connector that reaches it."""
        kafka, pulsar = self.kafka(), self.broker("pulsar", "PULSAR_URL")
        mosquitto = self.broker("mosquitto", "MQTT_ADDRESS")
        yield "kafka", f'{{ kind: kafka, brokers: ["{kafka}"] }}'
        yield "pulsar", f'{{ kind: pulsar, url: "{pulsar}" }}'
        yield "mosquitto", f'{{ kind: mqtt, url: "mqtt://{mosquitto}" }}'

    def outage_gateway(self, connector):
        http, admin = self.address(), self.address()
        file = self.folder / "outage.yaml"
        file.write_text((CONFIGURATIONS / "outage.yaml").read_text().replace("${AWAY}", connector))
        return self.gateway(file, http, admin, os.environ | {"HTTP": http, "ADMIN": admin})

    def do_to_broker(self, name, what):
        """Such as `pause` and `resume`."""
        output(BROKERS, what, name)

    @contextlib.contextmanager
    def topic(self, name):
        self.kafka()
        output(BROKERS, "topic", "create", name, *TOPIC)
        try:
            yield
        finally:
            output(BROKERS, "topic", "delete", name)

    def compare(self, gateway, channel, yardstick, *flags):
        """Loads the gateway and a yardstick in turn; `direct:…` instead of a yardstick's command is the load tool by itself."""
        listen = self.address()
        if yardstick.startswith("direct:"):
            other = ["--b-url", yardstick]
        else:
            other = ["--b-url", f"http://{listen}/channels/{channel}", "--b-cmd", f"{self.yardstick} {yardstick} --listen {listen}"]
        return self.compare_servers(gateway, f"http://{gateway.http}/channels/{channel}", *other, *flags)

    def compare_with_mosquitto(self, gateway):
        """Both loaded by devices, in turn."""
        address, pid = self.mosquitto()
        return self.compare_servers(gateway, f"mqtt://{gateway.mqtt}", "--b-url", f"mqtt://{address}", "--b-pid", pid)

    def compare_servers(self, gateway, url, *flags):
        command = [self.yardstick_dir / "measure", "--yardstick", self.yardstick, "--rounds", self.rounds, *flags]
        command += ["--a-url", url, "--a-cmd", shlex.join(map(str, gateway.command))]
        comparison = Comparison(self.measure([str(each) for each in command], gateway.environment))
        self.notes += [f"the rounds of {side} differ by {share:.0%}" for side, share in comparison.unsteady()]
        return comparison

    def compare_over_h2c(self, gateway, channel, yardstick):
        """Pairs of what `h2c.load` says of the gateway and of a yardstick, loaded in turn."""
        data = self.folder / "data"
        data.write_bytes(b"x" * BYTES)
        listen, pairs = self.address(), []
        command = [self.yardstick, *yardstick.split(), "--listen", listen]
        with gateway, h2c.serving(command, listen) as least:
            sides = (gateway.process, gateway.http), (least, listen)
            for number in range(self.rounds):
                turn = sides if number % 2 == 0 else sides[::-1]
                pair = [h2c.load(process, f"http://{address}/channels/{channel}", data, SECONDS) for process, address in turn]
                pairs.append(pair if number % 2 == 0 else pair[::-1])
                (ours, our_cpu), (theirs, their_cpu) = pairs[-1]
                print(f"  gateway {ours:.0f} events/s, {our_cpu:.1f} µs; yardstick {theirs:.0f}, {their_cpu:.1f}", flush=True)
        return pairs

    def publish_over_http(self, gateway, channel, connections, size=BYTES):
        """What `wrk` says: `events` that were confirmed, and how many that is `per_second`."""
        lua = self.yardstick_dir / "publish.lua"
        url = f"http://{gateway.http}/channels/{channel}"
        return confirmed(output("wrk", "-t2", f"-c{connections}", f"-d{SECONDS}", "-s", lua, url, "--", "run", size))

    def publish_over_websocket(self, gateway, channel, unanswered):
        """The same over one connection."""
        flags = ("--unanswered", unanswered, "--seconds", SECONDS, "--bytes", BYTES)
        return confirmed(output(self.load_tool("websocket-load"), gateway.http, channel, *flags))

    def publish_over_mqtt(self, gateway, channel, connections, unanswered, size, *flags):
        """The same with QoS 1."""
        flags += ("--connections", connections, "--unanswered", unanswered, "--seconds", SECONDS, "--bytes", size)
        return confirmed(output(self.load_tool("mqtt-load"), "publish", gateway.mqtt, channel, *flags))

    def load_tool(self, name):
        """One of our own (benches/e2e), built at the first call; a variable such as MQTT_LOAD names one to use instead."""
        if name not in self.load_tools:
            given_one = given(name.upper().replace("-", "_"))
            self.load_tools[name] = given_one or build(ROOT / "Cargo.toml", "meshgate", example=name)
        return self.load_tools[name]

    def measure(self, command, environment):
        """Its lines, which are shown as they come."""
        problems, lines = self.folder / "measure.log", []
        with open(problems, "wb") as log:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, env=environment, text=True)
        with process:
            try:
                for line in process.stdout:
                    print(f"  {line.rstrip()}", flush=True)
                    lines.append(line)
            except BaseException:
                process.terminate()  # it stops what it has started
                raise
        if process.returncode:
            said = problems.read_text(errors="replace").strip().splitlines()
            raise Failed(said[-1] if said else f"measure ended with {process.returncode}")
        return lines


def given(variable):
    """The binary that the environment names."""
    path = os.environ.get(variable)
    if path and not os.access(path, os.X_OK):
        raise Failed(f"{variable}: {path} cannot be executed")
    return path and str(pathlib.Path(path).resolve())


def confirmed(said):
    """The line of JSON that a load tool prints."""
    (line,) = [line for line in said.splitlines() if line.startswith("{")]
    result = json.loads(line)
    if result.get("errors"):
        raise Failed(f"{result['errors']} events were refused")
    return result


def build(manifest, package, target=None, example=None):
    environment = os.environ | ({"CARGO_TARGET_DIR": str(target)} if target else {})
    messages = output(
        *("cargo", "build", "--release", "--locked", "--message-format", "json-render-diagnostics"),
        *("--manifest-path", manifest, "--package", package),
        *(("--example", example) if example else ()),
        environment=environment,
    )
    artifacts = [json.loads(line) for line in messages.splitlines()]
    (binary,) = [each["executable"] for each in artifacts if each.get("executable") and each["target"]["name"] == (example or package)]
    return binary


def cache_dir():
    """Where the other scripts keep what is made once, too (scripts/lib/common.sh)."""
    return pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "meshgate"


def output(*command, environment=None):
    command = [str(each) for each in command]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=environment, cwd=ROOT)
    if done.returncode:
        raise Failed(f"exit {done.returncode} from {shlex.join(command)}")
    return done.stdout
