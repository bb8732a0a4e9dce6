"""What is measured. Each figure is a function that yields rows of the table; its documentation is its help."""

import asyncio
import functools
import statistics
import time

import idle_devices
import outages
from gateway import Failed
from reload import Load, last_route
from report import Row, at_least, at_most, shown
from subscribers import Subscribers

MIB = 1 << 20
STARTS = 9
DEVICE_BYTES = 256
SUBSCRIBERS = 1000
EVENTS_PER_SECOND = 50
ROUTES, RELOADS, PAUSE_SECONDS = 10_000, 5, 4


def http(rig):
    """HTTP → memory at 64 connections, against `yardstick http`"""
    comparison = rig.compare(rig.embedded_default(), "orders/http", "http", "--connections", 64)
    yield from throughput("HTTP → memory, 64 connections", comparison, 0.80, 1.30)


def routes(rig):
    """HTTP → memory and HTTP → Kafka at 64 connections through 100 routes and a filter"""
    comparison = rig.compare(rig.many_routes("memory"), "orders/routes", "http", "--connections", 64)
    yield from throughput("HTTP → memory, 100 routes and a filter", comparison, 0.80, 1.30)
    with rig.topic("orders.routes"):
        yardstick = f"kafka --brokers {rig.kafka()} --topic orders.routes --linger-ms 1"
        comparison = rig.compare(rig.many_routes("kafka"), "orders/routes", yardstick, "--connections", 64)
    yield from throughput("HTTP → Kafka, 100 routes and a filter", comparison, 0.95, 1.05)


def h2c(rig):
    """HTTP/2 without TLS → memory, 64 connections of 4 streams, against `yardstick http`"""
    pairs = rig.compare_over_h2c(rig.embedded_default(), "orders/h2c", "http")
    what = "h2c → memory, 64 connections of 4 streams"
    yield at_least(f"{what}: events/s, ratio", statistics.median(a[0] / b[0] for a, b in pairs), 0.80)
    yield at_most(f"{what}: CPU per event, ratio", statistics.median(a[1] / b[1] for a, b in pairs), 1.30)


def websocket(rig):
    """WebSocket → memory with 256 unanswered frames, against HTTP → memory at 64 connections of the same gateway"""
    ratios = []
    with rig.embedded_default() as gateway:
        for _ in range(rig.rounds):
            over_http = rig.publish_over_http(gateway, "orders/http", connections=64)["per_second"]
            over_websocket = rig.publish_over_websocket(gateway, "orders/websocket", unanswered=256)["per_second"]
            print(f"  HTTP {over_http:.0f} events/s, WebSocket {over_websocket:.0f} events/s", flush=True)
            ratios.append(over_websocket / over_http)
    yield at_least("WebSocket with 256 unanswered frames: events/s over those of HTTP", statistics.median(ratios), 2)


def kafka_64(rig):
    """HTTP → Kafka at 64 connections, against `yardstick kafka`"""
    yield from kafka(rig, "kafka.yaml", 64, "linger.ms 1")


def kafka_256(rig):
    """HTTP → Kafka at 256 connections, against `yardstick kafka`"""
    yield from kafka(rig, "kafka.yaml", 256, "linger.ms 1")


def latency(rig):
    """what the gateway adds to the broker client's latency at 1,000 events/s"""
    yield from added_latency(rig, "kafka.yaml", "linger.ms 1")


def kafka_default(rig):
    """HTTP → Kafka with the shipped properties: 64 connections, and latency"""
    yield from kafka(rig, "kafka-default.yaml", 64, "as shipped")
    yield from added_latency(rig, "kafka-default.yaml", "as shipped")


def idle(rig):
    """the embedded default at rest: memory, time from exec to ready, size of the binary"""
    resident, ready = [], []
    for _ in range(STARTS):
        with rig.embedded_default() as gateway:
            time.sleep(0.5)
            resident.append(gateway.resident_kib() / 1024)
            ready.append(gateway.ready_ms)
    yield at_most("idle: resident memory, MiB", statistics.median(resident), 20, "{:.1f}")
    yield at_most(f"ready after exec, ms (median of {STARTS} starts)", statistics.median(ready), 100, "{:.0f}")
    yield at_most("size of the stripped binary, MiB", rig.stripped_bytes() / MIB, 20, "{:.1f}")


def subscribers(rig):
    """1,000 subscribers of one Kafka topic: connections to the broker, memory of each"""
    with (
        rig.topic("orders.subscribers"),
        rig.kafka_gateway("kafka.yaml") as gateway,
        Subscribers(gateway.http, "orders/subscribers") as readers,
    ):
        readers.publish(20)
        before = gateway.resident_kib()
        readers.open(1)
        readers.deliver(20)
        with_one = gateway.broker_connections()
        readers.open(SUBSCRIBERS - 1)
        readers.deliver(100)
        with_all = gateway.broker_connections()
        each = (gateway.resident_kib() - before) / SUBSCRIBERS
    yield Row(f"connections to Kafka with {SUBSCRIBERS} SSE subscribers", str(with_all), f"= {with_one} (with one)", with_all == with_one)
    yield at_most("resident memory per SSE subscriber, KiB", each, 60, "{:.1f}")


def fanout(rig):
    """CPU per event delivered to 1,000 subscribers of one Kafka topic, against `yardstick sse`"""
    flags = ("--sse", SUBSCRIBERS, "--a-feed", EVENTS_PER_SECOND)
    with rig.topic("orders.fanout"):
        comparison = rig.compare(rig.kafka_gateway("kafka.yaml"), "orders/fanout", f"sse --rate {EVENTS_PER_SECOND}", *flags)
    what = f"{SUBSCRIBERS} SSE subscribers: "
    yield shown(what + "delivered/s, ratio", comparison.ratio("events"))
    yield at_most(what + "CPU per delivered event, ratio", comparison.ratio("cpu_us"), 1.30)


def reload(rig):
    """10,000 routes taken over anew at 1,000 events/s: p99 of the second that begins with the new file against that of the second before"""
    gateway, put = rig.reloading_gateway(ROUTES, RELOADS)
    with gateway:
        load = Load(gateway.http, "other")
        begun = asyncio.run(load.run(put, RELOADS, PAUSE_SECONDS))
        served = last_route(gateway.admin)
    if served != f"all-{RELOADS}":
        raise Failed(f"the last reload was not taken over: there is {served}")
    pairs = [(load.p99_ms(at - 1, at), load.p99_ms(at, at + 1)) for at in begun]
    print("  " + ", ".join(f"{before:.2f} and {of:.2f} ms" for before, of in pairs), flush=True)
    what = f"reload of {ROUTES} routes under load: "
    yield at_most(what + "p99 over that of the second before", statistics.median(of / before for before, of in pairs), 2)
    yield shown(what + "events, none refused", len(load.sent), "{:.0f}")


def kafka(rig, configuration, connections, properties):
    with rig.topic("orders.publish"):
        yardstick = f"kafka --brokers {rig.kafka()} --topic orders.publish --linger-ms 1"
        comparison = rig.compare(rig.kafka_gateway(configuration), "orders/publish", yardstick, "--connections", connections)
    yield from throughput(f"HTTP → Kafka, {connections} connections, {properties}", comparison, 0.95, 1.05)


def pulsar(rig):
    """HTTP → Pulsar at 64 connections, not batched, against `yardstick pulsar`"""
    url = rig.broker("pulsar", "PULSAR_URL")
    yardstick = f"pulsar --pulsar {url} --topic orders-yardstick --batch 1"
    comparison = rig.compare(rig.broker_gateway("pulsar.yaml", url), "orders", yardstick, "--connections", 64)
    yield from throughput("HTTP → Pulsar, 64 connections", comparison, 0.90, 1.15)


def mqtt(rig):
    """HTTP → MQTT at 64 connections, against `yardstick mqtt-out`"""
    address = rig.broker("mosquitto", "MQTT_ADDRESS")
    yardstick = f"mqtt-out --mqtt {address} --topic orders-yardstick"
    comparison = rig.compare(rig.broker_gateway("mqtt.yaml", address), "orders", yardstick, "--connections", 64)
    yield from throughput("HTTP → MQTT, 64 connections", comparison, 0.90, 1.15)


def devices(rig):
    """MQTT QoS 1 of 256 B from 4 publishers to 2 subscribers on memory, against mosquitto"""
    comparison = rig.compare_with_mosquitto(rig.broker_gateway("devices.yaml", ""))
    yield from throughput("MQTT, 4 publishers and 2 subscribers, to mosquitto's", comparison, 1.0, 2.0)


def devices_idle(rig):
    """10,000 MQTT connections at rest: memory of each, CPU of their pings, beside mosquitto's"""
    tool, what = rig.load_tool("mqtt-load"), f"{idle_devices.CONNECTIONS} idle MQTT connections"
    gateway = functools.partial(rig.broker_gateway, "devices.yaml", "")
    servers = functools.partial(idle_devices.gateway, gateway), functools.partial(idle_devices.mosquitto, rig)
    for which, flags in ((what, ()), (f"{what}, each with a subscription", ("--subscribe",))):
        ours, theirs = (idle_devices.memory_kib(tool, server, *flags) for server in servers)
        yield at_most(f"{which}: memory of each, KiB", ours, 8, "{:.1f}")
        yield shown(f"{which}: memory, to mosquitto's", ours / theirs)
    over_http = functools.partial(idle_devices.gateway, gateway, "http")
    yield shown(f"{what}, over WebSocket: memory of each, KiB", idle_devices.memory_kib(tool, over_http, "--websocket"), "{:.1f}")
    ours, theirs = (idle_devices.ping_us(tool, server) for server in servers)
    yield shown(f"{what}: CPU of a ping, µs (mosquitto: {theirs:.0f})", ours, "{:.0f}")


def devices_kafka(rig):
    """MQTT → Kafka, 16 publishers with 64 unanswered, against HTTP → Kafka at 64 connections of the same gateway"""
    plain, events = [], []
    with rig.topic("orders.devices"), rig.broker_gateway("devices-kafka.yaml", rig.kafka()) as gateway:
        mqtt = functools.partial(rig.publish_over_mqtt, gateway, "orders/devices", 16, 64, DEVICE_BYTES)
        http = functools.partial(rig.publish_over_http, gateway, "orders/devices", 64, DEVICE_BYTES)
        http(), mqtt()  # warm up
        for _ in range(rig.rounds):
            over_http, of_bytes, of_events = map(gateway.cpu_per_event, (http, mqtt, functools.partial(mqtt, "--events")))
            print(f"  HTTP {over_http:.1f} µs, MQTT {of_bytes:.1f} µs, MQTT 5 with the same attributes {of_events:.1f} µs", flush=True)
            plain.append(of_bytes / over_http)
            events.append(of_events / over_http)
    what = "MQTT → Kafka, 16 publishers with 64 unanswered: CPU per event, to HTTP's"
    yield at_most(what, statistics.median(plain), 0.80)
    yield at_most(f"{what}, with the same attributes", statistics.median(events), 0.80)


def outage(rig):
    """Resident memory with a broker frozen for 60 s under full load, at the end of a bridge too, and with a subscriber that does not read"""
    lua = rig.yardstick_dir / "publish.lua"
    with rig.topic("orders-outage"):
        for broker, connector in rig.brokers_away():
            gateway = functools.partial(rig.outage_gateway, connector)
            freeze = functools.partial(rig.do_to_broker, broker)
            yield outages.row(f"{broker} frozen for 60 s under full load", outages.away(lua, gateway(), "away/x", freeze))
            yield outages.row(f"{broker} frozen for 60 s at the far end of a bridge", outages.away(lua, gateway(), "near", freeze))
            yield outages.row(f"a subscriber of {broker} that does not read", outages.unread(lua, gateway(), "away/x"))


def throughput(what, comparison, events, cpu):
    yield at_least(f"{what}: events/s, ratio", comparison.ratio("events"), events)
    yield at_most(f"{what}: CPU per event, ratio", comparison.ratio("cpu_us"), cpu)


def added_latency(rig, configuration, properties):
    with rig.topic("orders.latency"):
        alone = f"direct:kafka --brokers {rig.kafka()} --topic orders.latency --linger-ms 1"
        comparison = rig.compare(rig.kafka_gateway(configuration), "orders/latency", alone, "--rate", 1000)
    what = f"HTTP → Kafka at 1,000 events/s, {properties}: added to the "
    yield at_most(what + "median, ms", comparison.difference("p50_us") / 1000, 0.3)
    yield at_most(what + "99th percentile, ms", comparison.difference("p99_us") / 1000, 1.5)


FIGURES = {
    figure.__name__.replace("_", "-"): figure
    for figure in (
        *(http, h2c, routes, websocket, kafka_64, kafka_256, latency, kafka_default, pulsar, mqtt, devices, devices_idle, devices_kafka),
        *(outage, idle, subscribers, fanout, reload),
    )
}
