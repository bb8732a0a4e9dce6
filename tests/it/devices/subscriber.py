"""A device with a session that lasts, whose gateway is killed: `subscriber.py VERSION WHEN`, with KAFKA_BOOTSTRAP, TOPIC and CHANNEL in the
environment. Ends with 0 if it has missed nothing.

VERSION is 5 (session expiry) or 4 (3.1.1, clean session 0). WHEN is when the gateway goes: `subscribed` at once after SUBACK, `reading` while
the device reads, `away` while the device is away itself. Where that is to happen it prints `kill`, and a line that it reads says where there
is a gateway now: HOST:PORT. The first line says where it is in the beginning.

Numbers come from a plain Kafka producer, all the time.
"""

import os
import queue
import sys
import threading
import time
import uuid

import kafka
from paho.mqtt.client import CallbackAPIVersion, Client, MQTTv5, MQTTv311
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

PATIENCE = 60
PACE = 0.002


class Numbers(threading.Thread):
    """Writes 0, 1, 2, … to the topic until it is told to stop."""

    def __init__(self):
        super().__init__(daemon=True)
        self.producer = kafka.KafkaProducer(bootstrap_servers=os.environ["KAFKA_BOOTSTRAP"], acks="all", linger_ms=2)
        self.next, self.has_ended = 0, threading.Event()

    def run(self):
        while not self.has_ended.is_set():
            self.producer.send(os.environ["TOPIC"], str(self.next).encode())
            self.next += 1
            time.sleep(PACE)
        self.producer.flush()

    def stored(self):
        """All before this number are there."""
        number = self.next
        self.producer.flush()
        return number

    def end(self):
        self.has_ended.set()
        self.join()
        return self.next


class Device:
    """One client for all its connections: what it has taken of QoS 2 and was not told to release it must remember."""

    def __init__(self, version, messages):
        self.version, self.answers = version, queue.Queue()
        self.client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=uuid.uuid4().hex,
            protocol=version,
            **({"clean_session": False} if version == MQTTv311 else {}),
        )
        self.client.on_message = lambda _c, _u, message: messages.put(message)
        self.client.on_connect = lambda _c, _u, flags, reason, _properties: self.answers.put((flags, reason))
        self.client.on_subscribe = lambda _c, _u, _mid, reasons, _properties: self.answers.put(reasons)

    def connect(self, address):
        """Connects as soon as there is a gateway. Whether that knows its session."""
        arguments = {}
        if self.version == MQTTv5:
            session = Properties(PacketTypes.CONNECT)
            session.SessionExpiryInterval = 3600
            arguments = {"clean_start": False, "properties": session}
        host, port = address.rsplit(":", 1)
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                self.client.connect(host, int(port), 30, **arguments)
                break
            except OSError:
                assert time.monotonic() < deadline, "no gateway"
                time.sleep(0.05)
        self.client.loop_start()
        flags, reason = self.answers.get(timeout=PATIENCE)
        assert not reason.is_failure, reason
        return flags.session_present

    def subscribe(self, qos):
        self.client.subscribe(os.environ["CHANNEL"], qos)
        (reason,) = self.answers.get(timeout=PATIENCE)
        assert reason.value == qos, reason

    def leave(self):
        self.client.disconnect()
        self.client.loop_stop()

    def is_cut_off(self):
        """Its gateway has gone."""
        self.client.loop_stop()
        while not self.answers.empty():
            self.answers.get()  # it may have come back to that one by itself


def kill():
    print("kill", flush=True)
    return sys.stdin.readline().strip()


def read(messages, seen, until):
    """Reads until all of these numbers are seen, or nothing comes any more."""
    while not until <= seen.keys():
        try:
            message = messages.get(timeout=PATIENCE)
        except queue.Empty:
            return
        number = int(message.payload)
        seen[number] = seen.get(number, 0) + 1


def main():
    version, when = {"5": MQTTv5, "4": MQTTv311}[sys.argv[1]], sys.argv[2]
    address = sys.stdin.readline().strip()
    for qos in (1, 2):
        numbers, messages, seen = Numbers(), queue.Queue(), {}
        numbers.start()
        device = Device(version, messages)
        assert not device.connect(address)
        device.subscribe(qos)
        first = numbers.stored()
        if when != "subscribed":
            read(messages, seen, set(range(first, first + 500)))
        if when == "away":
            device.leave()
            time.sleep(0.5)
            address = kill()
        else:
            address = kill()
            device.is_cut_off()
        time.sleep(0.5)
        assert device.connect(address), "the session is not there any more"
        time.sleep(1)
        last = numbers.end()
        read(messages, seen, set(range(first, last)))
        missed = sorted(set(range(first, last)) - seen.keys())
        assert not missed, f"missed {len(missed)} of {last - first}, from {missed[0]} to {missed[-1]}"
        twice = sum(count > 1 for count in seen.values())
        print(f"MQTT {version}, QoS {qos}, {when}: {last - first} numbers, {twice} came again", flush=True)
        device.leave()


main()
