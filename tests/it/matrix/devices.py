"""MQTT devices (paho) on both sides of the gateway, one JSON document a line. MQTT is HOST:PORT of its MQTT listener.

    devices.py read COUNT CHANNEL…     a device of MQTT 5 and one of 3.1.1 subscribe to all the channels, say {"ready": true}, and print COUNT
                                       messages of each channel each
    devices.py publish                 publishes what it reads from stdin, each with QoS 1 over a device of its version: {"version", "channel",
                                       "payload", "user": [[NAME, VALUE]…], "content_type"}

Payloads are base64.
"""

import base64
import collections
import json
import os
import queue
import sys
import uuid

from paho.mqtt.client import CallbackAPIVersion, Client, MQTTv5, MQTTv311
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

PATIENCE_SECONDS = 60
VERSIONS = {"5": MQTTv5, "3.1.1": MQTTv311}


class Device:
    def __init__(self, version):
        self.version, self.answers, self.messages = version, queue.Queue(), queue.Queue()
        self.client = Client(CallbackAPIVersion.VERSION2, client_id=uuid.uuid4().hex, protocol=VERSIONS[version])
        self.client.on_connect = lambda *_: self.answers.put(True)
        self.client.on_subscribe = lambda _c, _u, _mid, reasons, _p: self.answers.put(reasons)
        self.client.on_publish = lambda _c, _u, _mid, reason, _p: self.answers.put(reason)
        self.client.on_message = lambda _c, _u, message: self.messages.put(message)
        host, port = os.environ["MQTT"].rsplit(":", 1)
        self.client.connect(host, int(port))
        self.client.loop_start()
        self.answers.get(timeout=PATIENCE_SECONDS)


def read(count, *channels):
    devices = [Device(version) for version in VERSIONS]
    for device in devices:
        for channel in channels:
            device.client.subscribe(channel, 2)
            (reason,) = device.answers.get(timeout=PATIENCE_SECONDS)
            assert not reason.is_failure, f"{channel}: {reason}"
    print(json.dumps({"ready": True}), flush=True)
    for device in devices:
        left = collections.Counter({channel: int(count) for channel in channels})
        while left.total():
            message = device.messages.get(timeout=PATIENCE_SECONDS)
            left[message.topic] -= 1
            described = {"version": device.version, "channel": message.topic, "payload": base64.b64encode(message.payload).decode()}
            described["user"] = getattr(message.properties, "UserProperty", [])
            described["content_type"] = getattr(message.properties, "ContentType", None)
            print(json.dumps(described), flush=True)


def publish():
    devices = {version: Device(version) for version in VERSIONS}
    for line in sys.stdin:
        wanted = json.loads(line)
        device, properties = devices[wanted["version"]], None
        if wanted["version"] == "5":
            properties = Properties(PacketTypes.PUBLISH)
            properties.UserProperty = [tuple(pair) for pair in wanted["user"]]
            if wanted["content_type"] is not None:
                properties.ContentType = wanted["content_type"]
        device.client.publish(wanted["channel"], base64.b64decode(wanted["payload"]), 1, properties=properties)
        reason = device.answers.get(timeout=PATIENCE_SECONDS)
        assert not reason.is_failure, f"{reason}: {line[:200]}"
    for device in devices.values():
        device.client.disconnect()
        device.client.loop_stop()


def main():
    command, *arguments = sys.argv[1:]
    {"read": read, "publish": publish}[command](*arguments)


main()
