"""The ways that events go, what happens meanwhile, and what must hold."""

import asyncio
import collections
import dataclasses
import subprocess
import sys
import time

import readers
from devices import Fleet
from load import Load
from rig import BROKERS, ROOT, Gateway

FROZEN_SECONDS, DEAD_SECONDS = 8, 2
# What Mosquitto had confirmed so shortly before it was killed, its store may lack.
UNSAVED_SECONDS = 4
# What a broker confirmed just before it was frozen or killed is on its way to who publishes for so long.
ON_ITS_WAY_SECONDS = 0.5
TOPIC = "faults"


@dataclasses.dataclass
class Result:
    way: str
    load: Load
    faults: list
    seconds: float
    stored: collections.Counter
    missing: set
    # Confirmed by a broker which forgot them when it was killed: its loss.
    forgotten: set = dataclasses.field(default_factory=set)
    # Confirmed while the only broker that can confirm them was away.
    untimely: set = dataclasses.field(default_factory=set)
    notes: list = dataclasses.field(default_factory=list)

    def holds(self):
        return not self.missing and not self.untimely

    def lines(self):
        load, stored = self.load, self.stored
        yield f"{self.way}: {load.count} events over {load.connections} connections in {self.seconds:.0f} s"
        yield f"  {', '.join(self.faults)}"
        yield f"  confirmed {len(load.confirmed)}, unknown {len(load.unknown)}; refused and sent again {load.refused} times"
        yield f"  stored {len(stored)} different, {stored.total()} in all; of the unknown {len(load.unknown & stored.keys())}"
        yield from (f"  {note}" for note in self.notes)
        yield f"  confirmed and missing: {len(self.missing)}" + (f", such as {sorted(self.missing)[:5]}" if self.missing else "")


class Faults:
    """What happens while events are under way, each thing once a share of them is answered."""

    def __init__(self, rig, gateway, load):
        self.rig, self.gateway, self.load = rig, gateway, load
        # From when to when a broker was away.
        self.kills, self.told, self.absences = [], [], []

    async def at(self, share, what):
        await self.load.until(share)
        self.told.append(f"{what} at {self.load.answered() / self.load.count:.0%}")

    async def freeze(self, share, broker):
        await self.at(share, f"{broker} frozen")
        await self.rig.disturb("pause", broker)
        begun = time.time()
        await asyncio.sleep(FROZEN_SECONDS)
        self.absences.append((begun, time.time()))
        await self.rig.disturb("resume", broker)

    async def kill(self, share, broker):
        await self.at(share, f"{broker} killed")
        self.kills.append(time.time())
        await self.rig.disturb("kill", broker)
        begun = time.time()
        await asyncio.sleep(DEAD_SECONDS)
        self.absences.append((begun, time.time()))
        await self.rig.disturb("restart", broker)

    async def kill_gateway(self, share):
        await self.at(share, "gateway killed")
        await self.gateway.kill_and_restart()

    async def of_one_broker(self, broker):
        await self.freeze(0.2, broker)
        await self.kill(0.5, broker)

    async def of_a_bridge(self, source, sink):
        await self.kill_gateway(0.1)
        await self.freeze(0.2, sink)
        await self.freeze(0.35, source)
        await self.kill_gateway(0.5)
        await self.kill(0.6, sink)
        await self.kill(0.75, source)

    def was_killed_after(self, moment):
        return any(moment <= kill + 1 and kill - moment <= UNSAVED_SECONDS for kill in self.kills)

    def untimely(self):
        """What was confirmed while a broker was away."""
        absences = [(begun + ON_ITS_WAY_SECONDS, ended) for begun, ended in self.absences]
        confirmed = self.load.confirmed.items()
        return {event for event, moment in confirmed if any(begun < moment < ended for begun, ended in absences)}


async def under(rig, options, text, faults_of, is_bridge=False, by_devices=False):
    """Publishes all events through a gateway with this configuration, with these faults."""
    gateway = Gateway(rig, text)
    await gateway.start()
    rig.callback(lambda: gateway.process.returncode is None and gateway.process.kill())
    await asyncio.sleep(2)  # a group stands
    if by_devices:
        load = Fleet(gateway.mqtt, options.events)
    else:
        load = Load(gateway.http, options.events, options.connections, gateway.arrived if is_bridge else None)
    faults, begun = Faults(rig, gateway, load), time.monotonic()
    following = asyncio.create_task(gateway.follow())
    await asyncio.gather(load.run(), faults_of(faults))
    following.cancel()
    return gateway, load, faults, time.monotonic() - begun


def configuration(connectors, routes, more=""):
    return f"connectors: {{ {connectors} }}\nroutes: [ {routes} ]\n{more}"


def bridge(start):
    more = "concurrency: 64, retry: { initial: 100ms, max: 5s }"
    return f'subscriptions: [ {{ name: {TOPIC}, channel: in/+, sink: "channel:out", from: {start}, {more} }} ]\n'


async def http_pulsar(rig, options):
    """HTTP to Pulsar"""
    url = rig.broker("pulsar")
    route = f"{{ channel: in/+, to: [ {{ connector: pulsar, topic: {TOPIC} }} ] }}"
    text = configuration(f'pulsar: {{ kind: pulsar, url: "{url}" }}', route)
    gateway, load, faults, seconds = await under(rig, options, text, lambda faults: faults.of_one_broker("pulsar"))
    stored = await asyncio.to_thread(readers.in_pulsar, url, TOPIC, load.confirmed.keys())
    await gateway.end()
    return Result("http-pulsar", load, faults.told, seconds, stored, load.confirmed.keys() - stored.keys())


async def bridge_kafka_pulsar(rig, options):
    """HTTP to Kafka, and a bridge from there to Pulsar; the gateway is killed twice"""
    kafka, url = rig.broker("kafka"), rig.broker("pulsar")
    rig.run(BROKERS, "topic", "create", TOPIC, "--partitions", "3")
    key = 'key: "{subject|}"'
    routes = (
        f"{{ channel: in/+, to: [ {{ connector: kafka, topic: {TOPIC}, {key} }} ] }}, "
        f"{{ channel: out, to: [ {{ connector: pulsar, topic: {TOPIC}, {key} }} ] }}"
    )
    connectors = f'kafka: {{ kind: kafka, brokers: ["{kafka}"] }}, pulsar: {{ kind: pulsar, url: "{url}" }}'
    text = configuration(connectors, routes, bridge("earliest"))
    gateway, load, faults, seconds = await under(rig, options, text, lambda faults: faults.of_a_bridge("kafka", "pulsar"), True)
    stored = await asyncio.to_thread(readers.in_pulsar, url, TOPIC, load.confirmed.keys())
    await gateway.end()
    return Result("bridge-kafka-pulsar", load, faults.told, seconds, stored, load.confirmed.keys() - stored.keys())


class Tapped:
    """Mosquitto with a tap before it."""

    def __init__(self, rig):
        self.broker, (self.port,) = rig.broker("mosquitto"), rig.ports(1)
        self.file = rig.folder / f"tap-{self.port}"
        program = ROOT / "scripts/lib/faults/tap.py"
        process = subprocess.Popen([sys.executable, program, self.port, self.broker, self.file])
        rig.callback(process.wait)
        rig.callback(process.kill)
        time.sleep(1)

    def words(self):
        """When each word was said last of each event."""
        words = collections.defaultdict(dict)
        for line in self.file.read_text().splitlines():
            word, event, moment = line.split(" ")
            words[word][event] = float(moment)
        return words


def witness(rig, address, file):
    """A subscriber with a session that lasts, which connects again: Mosquitto's own client. Prints user properties."""
    host, port = address.rsplit(":", 1)
    session = ["-V", "5", "-c", "-i", "witness", "-x", "3600", "-q", "1", "-D", "connect", "receive-maximum", "1000"]
    command = ["stdbuf", "-oL", "mosquitto_sub", "-h", host, "-p", port, *session, "-t", f"{TOPIC}/#", "-F", "%P"]
    with open(file, "wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.DEVNULL)
    rig.callback(process.wait)
    rig.callback(process.kill)
    time.sleep(1)


def mqtt(tapped):
    settings = f'kind: mqtt, url: "mqtt://127.0.0.1:{tapped.port}", client_id: {TOPIC}'
    route = f'{{ channel: "in/{{key}}", to: [ {{ connector: mqtt, topic: "{TOPIC}/{{key}}" }} ] }}'
    return f"mqtt: {{ {settings} }}", route


async def http_mqtt(rig, options):
    """HTTP to MQTT, with a subscriber that has a session"""
    tapped = Tapped(rig)
    file = rig.folder / "witness"
    witness(rig, tapped.broker, file)
    text = configuration(*mqtt(tapped))
    gateway, load, faults, seconds = await under(rig, options, text, lambda faults: faults.of_one_broker("mosquitto"))
    stored = await asyncio.to_thread(readers.in_file, file, load.confirmed.keys())
    await gateway.end()
    taken = tapped.words()["taken"]
    gone = load.confirmed.keys() - stored.keys()
    forgotten = {event for event in gone if event in taken and faults.was_killed_after(taken[event])}
    result = Result("http-mqtt", load, faults.told, seconds, stored, gone - forgotten | load.confirmed.keys() - taken.keys())
    result.notes += [
        f"the broker's own word on the wire: it took {len(taken)}; confirmed without that word {len(load.confirmed.keys() - taken.keys())}",
        f"taken in the last {UNSAVED_SECONDS} s before it was killed, and lost by the broker: {len(forgotten)}",
    ]
    return result


async def bridge_mqtt_kafka(rig, options):
    """HTTP to MQTT, and a bridge from there to Kafka; the gateway is killed twice"""
    tapped, kafka = Tapped(rig), rig.broker("kafka")
    rig.run(BROKERS, "topic", "create", TOPIC, "--partitions", "3", "--if-not-exists")
    connector, route = mqtt(tapped)
    connectors = f'{connector}, kafka: {{ kind: kafka, brokers: ["{kafka}"] }}'
    out = f'{{ channel: out, to: [ {{ connector: kafka, topic: {TOPIC}, key: "{{subject|}}" }} ] }}'
    text = configuration(connectors, f"{route}, {out}", bridge("latest"))
    gateway, load, faults, seconds = await under(rig, options, text, lambda faults: faults.of_a_bridge("mosquitto", "kafka"), True)
    stored = await asyncio.to_thread(readers.in_kafka, kafka, TOPIC, load.confirmed.keys())
    await gateway.end()
    words = tapped.words()
    taken, handed, settled = words["taken"], words["handed"], words["settled"]
    gone = load.confirmed.keys() - stored.keys()
    forgotten = {event for event in gone - settled.keys() if event in taken and faults.was_killed_after(taken[event])}
    untrue = settled.keys() - stored.keys()
    result = Result("bridge-mqtt-kafka", load, faults.told, seconds, stored, gone - forgotten | untrue | load.confirmed.keys() - taken.keys())
    result.notes += [
        f"the broker's own word on the wire: it took {len(taken)}; confirmed without that word {len(load.confirmed.keys() - taken.keys())}",
        f"it handed {len(handed)} over to the bridge, which confirmed {len(settled)}; of these missing in Kafka {len(untrue)}",
        f"taken in the last {UNSAVED_SECONDS} s before it was killed, lost by the broker before the bridge confirmed it: {len(forgotten)}",
    ]
    return result


async def mqtt_kafka(rig, options):
    """MQTT devices to Kafka: eight of them, which send again what is not acknowledged"""
    kafka = rig.broker("kafka")
    rig.run(BROKERS, "topic", "create", TOPIC, "--partitions", "3")
    route = f"{{ channel: in/+, to: [ {{ connector: kafka, topic: {TOPIC} }} ] }}"
    text = configuration(f'kafka: {{ kind: kafka, brokers: ["{kafka}"] }}', route)
    faults_of = lambda faults: faults.of_one_broker("kafka")
    gateway, load, faults, seconds = await under(rig, options, text, faults_of, by_devices=True)
    stored = await asyncio.to_thread(readers.in_kafka, kafka, TOPIC, load.confirmed.keys())
    await gateway.end()
    missing = load.confirmed.keys() - stored.keys()
    result = Result("mqtt-kafka", load, faults.told, seconds, stored, missing, untimely=faults.untimely())
    ends = ", ".join(f"{reason:#x} {times} times" for reason, times in load.ends.items()) or "never"
    result.notes += [
        f"acknowledged while Kafka was away: {len(result.untimely)}; the latest {load.latest:.1f} s after it was sent",
        f"connections {load.opened}; the gateway ended one with {ends}",
    ]
    return result


WAYS = {way.__name__.replace("_", "-"): way for way in (http_pulsar, http_mqtt, mqtt_kafka, bridge_kafka_pulsar, bridge_mqtt_kafka)}
