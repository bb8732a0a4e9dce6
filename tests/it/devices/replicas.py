"""Devices that go from one replica of the gateway to another: `replicas.py SCENARIO`. Ends with 0 if all was as it should be.

Environment: MQTT_A and MQTT_B are the MQTT listeners of two replicas with the same `state`, PID_A is the process of the first.
"""

import os
import signal
import sys
import threading
import time
import uuid

from device import BOTH, Device, place


def at(replica, **settings):
    os.environ["MQTT"] = os.environ[f"MQTT_{replica}"]
    return Device(**settings).connect()


def end(name):
    os.kill(int(os.environ["PID_A"]), getattr(signal, name))


def moved():
    """A device that has left one replica goes on at the other."""
    for version in BOTH:
        topic, name = place(), uuid.uuid4().hex
        device = at("A", version=version, client_id=name, session=3600)
        device.subscribe(f"{topic}/#", 2)
        device.disconnect()
        writer = at("A")
        for number in range(100):
            writer.publish(f"{topic}/a", str(number), 2)
        device = at("B", version=version, client_id=name, session=3600)
        assert device.flags.session_present
        assert [int(device.next().payload) for _ in range(100)] == list(range(100))
        device.nothing()
        writer.publish(f"{topic}/b", "live")
        assert device.next().payload == b"live"
        device.disconnect()
        fresh = at("A", version=version, client_id=name)
        assert not fresh.flags.session_present
        fresh.disconnect()
        again = at("B", version=version, client_id=name, session=3600)
        assert not again.flags.session_present, "the other replica has ended it"
        for device in (again, writer):
            device.disconnect()


def taken_over():
    """Whoever connects later has the session, wherever; what was not confirmed goes along, with its packet identifier."""
    topic, name = place(), uuid.uuid4().hex
    os.environ["MQTT"] = os.environ["MQTT_A"]
    first = Device(client_id=name, session=3600)
    first.client.manual_ack_set(True)
    first.connect().subscribe(topic)
    first.client._reconnect_on_failure = False
    writer = at("B")
    for number in range(5):
        writer.publish(topic, str(number))
    got = [first.next() for _ in range(5)]
    first.client.ack(got[0].mid, 1)
    first.client.ack(got[2].mid, 1)
    time.sleep(0.3)
    begun = time.monotonic()
    second = at("B", client_id=name, session=3600)
    took = time.monotonic() - begun
    assert second.flags.session_present
    assert first.ends.get(timeout=5).value == 0x8E
    second.client._reconnect_on_failure = False
    again = [second.next() for _ in range(3)]
    assert [(int(message.payload), message.mid, message.dup) for message in again] == [
        (number, got[number].mid, True) for number in (1, 3, 4)
    ], again
    second.nothing()
    assert took < 3, took
    back = at("A", client_id=name, session=3600)
    assert back.flags.session_present and second.ends.get(timeout=5).value == 0x8E
    writer.publish(topic, "to A")
    assert back.next().payload == b"to A"
    for device in (back, writer):
        device.disconnect()


def retained():
    topic = place()
    writer = at("A")
    assert writer.publish(f"{topic}/a", "kept", retain=True) == 0
    reader = at("B")
    reader.subscribe(f"{topic}/#")
    message = reader.next()
    assert (message.payload, message.retain) == (b"kept", True)
    assert writer.publish(f"{topic}/a", "", retain=True) == 0
    reader.next()
    late = at("B")
    late.subscribe(f"{topic}/#")
    late.nothing()
    for device in (writer, reader, late):
        device.disconnect()


def killed():
    """A replica dies: its clients miss nothing, and its wills are published by the other one, except of those that came back."""
    topic, name = place(), uuid.uuid4().hex
    watcher = at("B")
    watcher.subscribe(f"{topic}/wills/#")
    device = at("A", client_id=name, session=3600, will={"topic": f"{topic}/wills/back", "payload": "no"})
    device.subscribe(f"{topic}/data", 2)
    gone = at("A", will={"topic": f"{topic}/wills/gone", "payload": "it is gone", "qos": 1})
    writer = at("B")
    stop, sent, seen = threading.Event(), [], []

    def write():
        while not stop.is_set():
            writer.publish(f"{topic}/data", str(len(sent)), len(sent) % 2 + 1)
            sent.append(len(sent))

    writing = threading.Thread(target=write)
    writing.start()
    for _ in range(200):
        seen.append(int(device.next().payload))
    for lost in (device, gone):
        lost.client._reconnect_on_failure = False
    end("SIGKILL")
    time.sleep(1)
    while not device.messages.empty():
        seen.append(int(device.next().payload))
    device = at("B", client_id=name, session=3600)
    assert device.flags.session_present
    time.sleep(1)
    stop.set()
    writing.join()
    while len(set(seen)) < len(sent):
        seen.append(int(device.next().payload))
    assert set(seen) == set(sent)
    message = watcher.next()
    assert (message.topic, message.payload) == (f"{topic}/wills/gone", b"it is gone")
    watcher.nothing(5)
    print(f"{len(sent)} sent, {len(seen) - len(set(seen))} came twice")
    for device in (device, watcher, writer):
        device.disconnect()


def drained():
    """A replica ends in order: its clients are told, and the wills of those that come back within ten seconds are not published."""
    topic, name = place(), uuid.uuid4().hex
    watcher = at("B")
    watcher.subscribe(f"{topic}/wills/#")
    device = at("A", client_id=name, session=3600, will={"topic": f"{topic}/wills/back", "payload": "no"})
    device.subscribe(f"{topic}/data")
    gone = at("A", will={"topic": f"{topic}/wills/gone", "payload": "it is gone", "qos": 1})
    for left in (device, gone):
        left.client._reconnect_on_failure = False
    begun = time.monotonic()
    end("SIGTERM")
    assert [left.ends.get(timeout=10).value for left in (device, gone)] == [0x8B, 0x8B]
    device = at("B", client_id=name, session=3600)
    assert device.flags.session_present
    message = watcher.next()
    assert (message.topic, message.payload) == (f"{topic}/wills/gone", b"it is gone")
    assert time.monotonic() - begun > 9, time.monotonic() - begun
    watcher.nothing(3)
    for device in (device, watcher):
        device.disconnect()


def left():
    """A device leaves a session at the first replica, often, and events for it."""
    for _ in range(20):
        device = at("A", client_id="lasting", session=3600)
        device.subscribe("t/lasting")
        device.disconnect()
    writer = at("A")
    for number in range(10):
        writer.publish("t/lasting", str(number))
    writer.disconnect()


def resumed():
    device = at("B", client_id="lasting", session=3600)
    assert device.flags.session_present
    assert [int(device.next().payload) for _ in range(10)] == list(range(10))
    device.disconnect()


if __name__ == "__main__":
    {scenario.__name__: scenario for scenario in (moved, taken_over, retained, killed, drained, left, resumed)}[sys.argv[1]]()
