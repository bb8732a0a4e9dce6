"""A plain MQTT 5 program on the other side of the gateway (paho): reads messages, one JSON document a line.

    packets.py subscribe TOPIC     makes a session at the broker, which keeps what comes from now on
    packets.py read TOPIC COUNT    reads that, and ends the session

Payloads, and names and values of user properties and of the content type, are base64.
"""

import base64
import json
import os
import queue
import sys

from paho.mqtt.client import CallbackAPIVersion, Client, MQTTv5
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

PATIENCE_SECONDS = 30
SESSION_SECONDS = 600


def encoded(raw):
    return base64.b64encode(raw).decode()


def connected(topic):
    """A client that goes on with the topic's session, and the messages that it gets."""
    messages, subscribed = queue.Queue(), queue.Queue()
    client = Client(CallbackAPIVersion.VERSION2, client_id=f"reader-of-{topic}", protocol=MQTTv5)
    client.on_message = lambda _client, _data, message: messages.put(message)
    client.on_connect = lambda *_: client.subscribe(topic, qos=1)
    client.on_subscribe = lambda _client, _data, _id, codes, _properties: subscribed.put(codes)
    session = Properties(PacketTypes.CONNECT)
    session.SessionExpiryInterval = SESSION_SECONDS
    host, port = os.environ["MQTT_ADDRESS"].rsplit(":", 1)
    client.connect(host, int(port), clean_start=False, properties=session)
    client.loop_start()
    codes = subscribed.get(timeout=PATIENCE_SECONDS)
    if any(code.is_failure for code in codes):
        sys.exit(f"the broker refuses the subscription: {codes}")
    return client, messages


def disconnect(client, session_seconds):
    over = Properties(PacketTypes.DISCONNECT)
    over.SessionExpiryInterval = session_seconds
    client.disconnect(properties=over)
    client.loop_stop()


def read(topic, count):
    client, messages = connected(topic)
    for _ in range(count):
        message = messages.get(timeout=PATIENCE_SECONDS)
        headers = [[name, encoded(value.encode())] for name, value in getattr(message.properties, "UserProperty", [])]
        content_type = getattr(message.properties, "ContentType", None)
        if content_type is not None:
            headers.append(["content-type", encoded(content_type.encode())])
        print(json.dumps({"value": encoded(message.payload), "headers": headers}))
    disconnect(client, 0)


def main():
    command, topic, *count = sys.argv[1:]
    if command == "subscribe":
        disconnect(connected(topic)[0], SESSION_SECONDS)
    else:
        read(topic, int(*count))


main()
