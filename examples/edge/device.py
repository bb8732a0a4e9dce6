"""A device, written with paho-mqtt: it reads its configuration, sends readings, and leaves a will.

    device.py NAME HOST:PORT --celsius 71 72 [--break]

With --break its connection breaks in the end, instead of being ended.
"""

import argparse
import json
import queue
import socket
import sys

from paho.mqtt.client import CallbackAPIVersion, Client, MQTTv5
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

PATIENCE = 20


class Device:
    def __init__(self, name):
        self.name, self.topic = name, f"devices/{name}"
        self.configurations, self.answers, self.ends = queue.Queue(), queue.Queue(), queue.Queue()
        self.client = Client(CallbackAPIVersion.VERSION2, client_id=name, protocol=MQTTv5)
        self.client.on_connect = lambda _c, _u, flags, reason, _p: self.answers.put((flags.session_present, reason))
        self.client.on_subscribe = lambda _c, _u, _mid, reasons, _p: self.answers.put(reasons[0])
        self.client.on_publish = lambda _c, _u, _mid, reason, _p: self.answers.put(reason)
        self.client.on_message = lambda _c, _u, message: self.configurations.put(message.payload.decode())
        self.client.on_disconnect = lambda *_: self.ends.put(True)
        # What the gateway publishes when the connection ends without a DISCONNECT. Retained: who looks later sees it too.
        self.client.will_set(f"{self.topic}/state", json.dumps({"state": "gone"}), qos=1, retain=True)

    def connect(self, address):
        session = Properties(PacketTypes.CONNECT)
        session.SessionExpiryInterval = 3600
        host, port = address.rsplit(":", 1)
        self.client.connect(host, int(port), keepalive=30, clean_start=False, properties=session)
        self.client.loop_start()
        session_present, reason = self.answers.get(timeout=PATIENCE)
        if reason.is_failure:
            sys.exit(f"{self.name} is refused: {reason}")
        print(f"{self.name}: its session goes on" if session_present else f"{self.name}: a new session")
        if not session_present:
            self.client.subscribe(f"{self.topic}/config", qos=1)
            self.answers.get(timeout=PATIENCE)
        self.publish("state", {"state": "here"}, retain=True)

    def publish(self, what, data, retain=False):
        """Once this is acknowledged, Kafka has it."""
        self.client.publish(f"{self.topic}/{what}", json.dumps(data), qos=1, retain=retain)
        reason = self.answers.get(timeout=PATIENCE)
        print(f"{what} {json.dumps(data)}: {'not stored, ' if reason.is_failure else ''}{reason}")

    def end(self, breaks):
        if breaks:
            self.client.on_disconnect = None
            connection = self.client.socket()
            self.client.loop_stop()
            connection.shutdown(socket.SHUT_RDWR)
        else:
            self.client.disconnect()
            self.ends.get(timeout=PATIENCE)
            self.client.loop_stop()


def main():
    options = argparse.ArgumentParser()
    options.add_argument("name")
    options.add_argument("address")
    options.add_argument("--celsius", nargs="*", type=int, default=[])
    options.add_argument("--break", action="store_true", dest="breaks")
    options = options.parse_args()
    device = Device(options.name)
    device.connect(options.address)
    print(f"config {device.configurations.get(timeout=PATIENCE)}")
    for celsius in options.celsius:
        device.publish("readings", {"celsius": celsius})
    device.end(options.breaks)


main()
