"""What a device that was away gets when it is back: scenarios of `devices.py`."""

import time
import uuid

from device import BOTH, PATIENCE, Device, place
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties


def sessions():
    """What is published while a device is away it gets when it is back."""
    for version in BOTH:
        topic, name = place(), uuid.uuid4().hex
        device = Device(version, name, session=3600).connect()
        assert not device.flags.session_present
        device.subscribe(topic)
        device.disconnect()
        writer = Device().connect()
        for number in range(50):
            writer.publish(topic, str(number))
        device = Device(version, name, session=3600).connect()
        assert device.flags.session_present
        assert [int(device.next().payload) for _ in range(50)] == list(range(50))
        device.nothing()
        device.vanish()
        writer.publish(topic, "after")
        device = Device(version, name, session=3600).connect()
        assert device.next().payload == b"after"
        device.nothing()
        device.disconnect()
        again = Device(version, name).connect()
        assert not again.flags.session_present
        writer.publish(topic, "to nobody")
        again.nothing()
        for device in (again, writer):
            device.disconnect()


def redelivery():
    """What a device has not confirmed comes again with DUP, and under its packet identifier."""
    topic, name = place(), uuid.uuid4().hex
    device = Device(client_id=name, session=3600)
    device.client.manual_ack_set(True)
    device.connect().subscribe(topic)
    writer = Device().connect()
    for number in range(5):
        writer.publish(topic, str(number))
    first = [device.next() for _ in range(5)]
    device.client.ack(first[1].mid, 1)
    time.sleep(0.5)
    device.vanish()
    device = Device(client_id=name, session=3600).connect()
    again = [device.next() for _ in range(4)]
    assert [int(message.payload) for message in again] == [0, 2, 3, 4], again
    assert all(message.dup for message in again)
    assert [message.mid for message in again] == [message.mid for index, message in enumerate(first) if index != 1]
    writer.publish(topic, "new")
    new = device.next()
    assert new.payload == b"new" and not new.dup
    device.nothing()
    for device in (device, writer):
        device.disconnect()


def pressure():
    """A device that confirms nothing gets as much as its receive maximum says, and the rest once it does."""
    topic = place()
    device = Device()
    device.client.manual_ack_set(True)
    device.connect(receive_maximum=7).subscribe(topic)
    writer = Device().connect()
    for number in range(30):
        writer.publish(topic, str(number))
    held = [device.next() for _ in range(7)]
    device.nothing()
    got = [int(message.payload) for message in held]
    for message in held:
        device.client.ack(message.mid, 1)
    while len(got) < 30:
        message = device.next()
        got.append(int(message.payload))
        device.client.ack(message.mid, 1)
    assert got == list(range(30)), got
    for each in (device, writer):
        each.disconnect()


def retained_again():
    """What was retained and is not confirmed comes again as well, though it stands in no log."""
    topic, name = place(), uuid.uuid4().hex
    device = Device(client_id=name, session=3600)
    device.client.manual_ack_set(True)
    device.connect()
    for number in range(3):
        device.publish(f"{topic}/{number}", f"kept {number}", retain=True)
    device.subscribe(f"{topic}/#")
    first = [device.next() for _ in range(3)]
    device.vanish()
    device = Device(client_id=name, session=3600).connect()
    again = [device.next() for _ in range(3)]
    assert [(m.mid, m.payload, m.retain, m.dup) for m in again] == [(m.mid, m.payload, True, True) for m in first], again
    device.nothing()
    device.disconnect()


def pressure_again():
    """Also of what is sent again a device gets as much as its receive maximum says, which may be less than before."""
    topic, name = place(), uuid.uuid4().hex
    device = Device(client_id=name, session=3600)
    device.client.manual_ack_set(True)
    device.connect()
    for number in range(20):
        device.publish(f"{topic}/{number}", str(number), retain=True)
    device.subscribe(f"{topic}/#")
    first = [device.next().mid for _ in range(20)]
    device.vanish()
    device = Device(client_id=name, session=3600)
    device.client.manual_ack_set(True)
    device.connect(receive_maximum=2)
    got = []
    while len(got) < 20:
        pair = [device.next(), device.next()]
        device.nothing(0.1)
        for message in pair:
            got.append(message.mid)
            device.client.ack(message.mid, 1)
    assert got == first, (first, got)
    device.nothing()
    device.disconnect()


def retained_waits():
    """What was retained and is not sent when the connection breaks is sent on the next one."""
    topic, name = place(), uuid.uuid4().hex
    device = Device(client_id=name, session=3600)
    device.client.manual_ack_set(True)
    device.connect(receive_maximum=5)
    for number in range(20):
        device.publish(f"{topic}/{number}", str(number), retain=True)
    device.subscribe(f"{topic}/#")
    [device.next() for _ in range(5)]
    device.nothing()
    device.vanish()
    device = Device(client_id=name, session=3600).connect()
    assert sorted(int(device.next().payload) for _ in range(20)) == list(range(20))
    device.disconnect()


def takeover():
    name, topic = uuid.uuid4().hex, place()
    first = Device(client_id=name, session=3600).connect()
    first.client._reconnect_on_failure = False
    first.subscribe(topic)
    second = Device(client_id=name, session=3600).connect()
    assert second.flags.session_present
    assert first.ends.get(timeout=PATIENCE).value == 0x8E
    second.publish(topic, "mine")
    assert second.next().payload == b"mine"
    second.disconnect()


def expiry():
    """A message is not delivered after its time."""
    topic, name = place(), uuid.uuid4().hex
    writer = Device().connect()
    short = Properties(PacketTypes.PUBLISH)
    short.MessageExpiryInterval = 1
    away = Device(client_id=name, session=3600).connect()
    away.subscribe(topic)
    away.disconnect()
    writer.publish(topic, "short", properties=short)
    writer.publish(topic, "long")
    time.sleep(2)
    away = Device(client_id=name, session=3600).connect()
    assert away.next().payload == b"long"
    away.nothing()
    for device in (away, writer):
        device.disconnect()
