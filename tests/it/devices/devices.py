"""Devices that speak MQTT to the gateway, written with paho: `devices.py SCENARIO…`, all side by side. Ends with 0 if all was as it
should be.

Environment: MQTT is HOST:PORT of the MQTT listener, HTTP the URL of the HTTP listener, TRANSPORT is `tcp` or `websockets`. Channels begin
with BASE, and what begins with WRAPPED is under a route that wraps. With REPLAYS the broker behind them keeps events; with LAST_OF_A_NAME it
keeps one property of each name.
"""

import json
import os
import sys
import threading
import time
import traceback

import sessions
from device import BOTH, PATIENCE, Device, http, page, place
from paho.mqtt.client import MQTTv5, MQTTv311
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

REPLAYS = "REPLAYS" in os.environ


def qualities():
    """Each QoS comes as it was published, at most as it was asked for; bytes are unchanged."""
    for version in BOTH:
        for asked in (0, 1, 2):
            topic = place()
            reader, writer = Device(version).connect(), Device(version).connect()
            assert reader.subscribe(f"{topic}/#", asked) == [asked]
            for qos in (0, 1, 2):
                payload = bytes(range(256)) + bytes([qos])
                assert writer.publish(f"{topic}/a", payload, qos) == 0
                message = reader.next()
                assert (message.topic, message.payload) == (f"{topic}/a", payload)
                assert message.qos == min(qos, asked), (message.qos, qos, asked)
                assert not message.retain and not message.dup
            for device in (reader, writer):
                device.disconnect()


def order():
    """A thousand messages come in their order, each once."""
    topic = place()
    for qos in (1, 2):
        reader, writer = Device().connect(), Device().connect()
        reader.subscribe(topic, qos)
        for number in range(1000):
            writer.client.publish(topic, str(number), qos)
        got = [int(reader.next().payload) for _ in range(1000)]
        assert got == list(range(1000)), got
        reader.nothing()
        for device in (reader, writer):
            device.disconnect()


def wildcards():
    device = Device().connect()
    topic = place()
    assert device.subscribe(f"{topic}/+/x") == [1]
    assert device.subscribe(f"{topic}/a/#", 2) == [2]
    device.publish(f"{topic}/a/x", "both")
    assert device.next().payload == b"both"
    device.publish(f"{topic}/b/x", "one")
    assert device.next().payload == b"one"
    device.publish(f"{topic}/b/y", "none")
    device.nothing()
    device.client.unsubscribe(f"{topic}/+/x")
    assert [reason.value for reason in device.answers.get(timeout=PATIENCE)] == [0]
    device.publish(f"{topic}/b/x", "no more")
    device.publish(f"{topic}/a/x", "still")
    assert device.next().payload == b"still"
    device.nothing()
    assert device.subscribe("$SYS/#") == [0x8F], "topics of the server's own there are none"
    assert device.publish("$SYS/x", "no", 1) == 0x90
    device.disconnect()


def wills():
    for version in BOTH:
        topic = place()
        watcher = Device().connect()
        watcher.subscribe(f"{topic}/#")
        will = {"topic": f"{topic}/gone", "payload": "it is gone", "qos": 1, "retain": True}
        Device(version, will=will).connect().disconnect()
        watcher.nothing(1)
        Device(version, will=will).connect().vanish()
        message = watcher.next()
        assert (message.payload, message.retain) == (b"it is gone", False)
        late = Device().connect()
        late.subscribe(f"{topic}/gone")
        message = late.next()
        assert (message.payload, message.retain) == (b"it is gone", True)
        for device in (watcher, late):
            device.disconnect()


def retained():
    topic = place()
    device = Device().connect()
    assert device.publish(f"{topic}/a", "old", retain=True) == 0
    assert device.publish(f"{topic}/a", "kept", retain=True) == 0
    assert device.publish(f"{topic}/b", "b", retain=True) == 0
    device.subscribe(f"{topic}/#")
    got = sorted((device.next() for _ in range(2)), key=lambda message: message.topic)
    assert [(message.payload, message.retain) for message in got] == [(b"kept", True), (b"b", True)], got
    device.subscribe(f"{topic}/#", retainHandling=SubscribeOptions.RETAIN_SEND_IF_NEW_SUB)
    device.nothing()
    device.subscribe(f"{topic}/#", retainHandling=SubscribeOptions.RETAIN_DO_NOT_SEND)
    device.nothing()
    device.subscribe(f"{topic}/a", retainAsPublished=True)
    device.next()
    device.publish(f"{topic}/a", "", retain=True)
    message = device.next()
    assert (message.payload, message.retain) == (b"", True)
    late = Device().connect()
    late.subscribe(f"{topic}/a")
    late.nothing()
    for each in (device, late):
        each.disconnect()


def no_local():
    topic = place()
    device, other = Device().connect(), Device().connect()
    device.subscribe(topic, noLocal=True)
    device.publish(topic, "mine")
    other.publish(topic, "theirs")
    assert device.next().payload == b"theirs"
    device.nothing()
    for each in (device, other):
        each.disconnect()


def shared():
    """Members of a group share its messages; each comes to one of them."""
    topic = place()
    members = [Device().connect() for _ in range(2)]
    for member in members:
        assert member.subscribe(f"$share/g/{topic}/#") == [1]
    alone = Device().connect()
    alone.subscribe(f"{topic}/#")
    writer = Device().connect()
    for number in range(100):
        writer.publish(f"{topic}/{number % 10}", str(number))
    got = [int(alone.next().payload) for _ in range(100)]
    assert sorted(got) == list(range(100))
    shares = []
    deadline = time.monotonic() + PATIENCE
    while sum(map(len, shares)) < 100 and time.monotonic() < deadline:
        shares = [[*getattr(member, "share", [])] for member in members]
        for member in members:
            member.share = getattr(member, "share", [])
            while not member.messages.empty():
                member.share.append(int(member.messages.get().payload))
        time.sleep(0.05)
    assert sorted(sum(shares, [])) == list(range(100)), shares
    assert all(shares), "both have had some"
    for device in (*members, alone, writer):
        device.disconnect()


def properties():
    """All that an MQTT 5 PUBLISH may have comes as it was sent."""
    topic = place()
    reader, writer = Device().connect(), Device().connect()
    identified = Properties(PacketTypes.SUBSCRIBE)
    identified.SubscriptionIdentifier = 77
    reader.client.subscribe(topic, options=SubscribeOptions(qos=1), properties=identified)
    reader.answers.get(timeout=PATIENCE)
    sent = Properties(PacketTypes.PUBLISH)
    sent.PayloadFormatIndicator = 1
    sent.MessageExpiryInterval = 100
    sent.ContentType = "text/plain"
    sent.ResponseTopic = f"{topic}/answer"
    sent.CorrelationData = b"\x00\xff"
    sent.UserProperty = [("X-Unit", "C"), ("b", "2"), ("a", "1"), ("b", "3")]
    assert writer.publish(topic, "21", properties=sent) == 0
    got = reader.next().properties
    assert got.PayloadFormatIndicator == 1 and 95 <= got.MessageExpiryInterval <= 100, got
    assert (got.ContentType, got.ResponseTopic, got.CorrelationData) == ("text/plain", f"{topic}/answer", b"\x00\xff"), got
    # Of properties of one name Pulsar keeps the last.
    kept = sent.UserProperty if "LAST_OF_A_NAME" not in os.environ else [("X-Unit", "C"), ("a", "1"), ("b", "3")]
    assert got.UserProperty == kept, got.UserProperty
    assert got.SubscriptionIdentifier == [77], got
    for device in (reader, writer):
        device.disconnect()


def events():
    """CloudEvents go from HTTP to devices and back."""
    channel = place()
    new, old = Device(MQTTv5).connect(), Device(MQTTv311).connect()
    for device in (new, old):
        device.subscribe(channel)
    headers = {"ce-id": "1", "ce-source": "/s", "ce-type": "t", "ce-specversion": "1.0", "ce-unit": "C", "content-type": "text/plain"}
    assert http("POST", f"/channels/{channel}", b"21", headers.items())[0] == 202
    message = new.next()
    attributes = dict(message.properties.UserProperty)
    assert attributes == {"specversion": "1.0", "id": "1", "source": "/s", "type": "t", "unit": "C"}, attributes
    assert (message.payload, message.properties.ContentType) == (b"21", "text/plain")
    assert json.loads(old.next().payload) == {
        "specversion": "1.0", "id": "1", "source": "/s", "type": "t", "unit": "C", "datacontenttype": "text/plain", "data": "21",
    }
    binary = Properties(PacketTypes.PUBLISH)
    binary.UserProperty = [("specversion", "1.0"), ("id", "2"), ("source", "/d"), ("type", "t"), ("X-Place", "roof")]
    binary.ContentType = "application/json"
    assert new.publish(channel, "{}", properties=binary) == 0
    structured = Properties(PacketTypes.PUBLISH)
    structured.ContentType = "application/cloudevents+json"
    event = {"specversion": "1.0", "id": "3", "source": "/d", "type": "t", "data": 3}
    assert new.publish(channel, json.dumps(event), properties=structured) == 0
    assert old.publish(channel, json.dumps(event | {"id": "4"})) == 0
    assert new.publish(channel, "plain") == 0
    heard = [json.loads(old.next().payload) for _ in range(3)]
    assert [event["id"] for event in heard] == ["2", "3", "4"], heard
    assert (heard[0]["datacontenttype"], heard[0]["data"]) == ("application/json", {})
    assert old.next().payload == b"plain"
    if REPLAYS:
        stored = page(channel)
        assert [event["id"] for event in stored[:4]] == ["1", "2", "3", "4"], stored
        assert stored[1:4] == heard, stored
        plain = stored[4]
        assert plain["type"] == "io.meshgate.raw" and plain["source"].startswith("/mqtt/"), plain
    bad = Properties(PacketTypes.PUBLISH)
    bad.ContentType = "application/cloudevents+json"
    assert new.publish(channel, "{", properties=bad) == 0x99
    for device in (new, old):
        device.disconnect()


PLAIN = (
    bytes(range(256)),
    b"21.5",
    b'{"celsius":  1.0}',
    b"{",
    "Z\u00fcrich \u20ac\r\n".encode(),
    b"\xff\xfe\x00",
    b'{"specversion":"1.0","id":"","source":"/s","type":"t"}',
    b"x" * 200_000,
    b"",
)
# A valid event, but only MQTT 3.1.1 has no other way to say that it is one.
LIKE_AN_EVENT = b' {"type":"t", "specversion":"1.0","id":"1","source":"/s","data":  1.0}'


def unchanged():
    """From device to device bytes are what they were, whatever the route wraps them in and whoever listens."""
    for base in ("BASE", "WRAPPED"):
        topic = place(base)
        readers = [Device(version).connect() for version in BOTH]
        for reader in readers:
            reader.subscribe(f"{topic}/#", 2)
        for version in BOTH:
            writer = Device(version).connect()
            for payload in PLAIN + ((LIKE_AN_EVENT,) if version == MQTTv5 else ()):
                assert writer.publish(f"{topic}/a", payload) == 0
                for reader in readers:
                    message = reader.next()
                    assert message.payload == payload, (base, version, reader.version, payload[:100], message.payload[:100])
            writer.disconnect()
        if REPLAYS and base == "WRAPPED":
            types = {event["type"] for event in page(f"{topic}/a")}
            assert types == {"com.example.reading"}, types
        for reader in readers:
            reader.nothing()
            reader.disconnect()


def main():
    failed = []

    def play(name):
        begun = time.monotonic()
        try:
            (getattr(sessions, name, None) or globals()[name])()
        except BaseException:
            failed.append(name)
            print(f"{name} failed after {time.monotonic() - begun:.1f} s\n{traceback.format_exc()}", file=sys.stderr)
        else:
            print(f"{name}: {time.monotonic() - begun:.1f} s")

    players = [threading.Thread(target=play, args=(name,)) for name in sys.argv[1:]]
    for player in players:
        player.start()
    for player in players:
        player.join()
    # Devices of a scenario that has failed go on; nobody waits for them.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1 if failed else 0)


if __name__ == "__main__":
    main()
