"""A device that speaks MQTT to the gateway, written with paho, and a reader over HTTP. What the environment says: `devices.py`."""

import json
import os
import queue
import socket
import urllib.error
import urllib.request
import uuid

from paho.mqtt.client import CallbackAPIVersion, Client, MQTTv5, MQTTv311
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

PATIENCE = 40
BOTH = (MQTTv311, MQTTv5)


def place(base="BASE"):
    """A topic that no other test has."""
    return f"{os.environ[base]}/{uuid.uuid4().hex}"


class Device:
    def __init__(self, version=MQTTv5, client_id=None, session=None, will=None):
        self.version, self.session = version, session
        kept = {"clean_session": session is None} if version == MQTTv311 else {}
        self.client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=client_id or uuid.uuid4().hex,
            protocol=version,
            transport=os.environ.get("TRANSPORT", "tcp"),
            **kept,
        )
        self.client.ws_set_options(path="/mqtt")
        self.messages, self.answers, self.ends = queue.Queue(), queue.Queue(), queue.Queue()
        self.client.on_message = lambda _c, _u, message: self.messages.put(message)
        self.client.on_connect = lambda _c, _u, flags, reason, properties: self.answers.put((flags, reason, properties))
        self.client.on_subscribe = lambda _c, _u, _mid, reasons, _properties: self.answers.put(reasons)
        self.client.on_unsubscribe = lambda _c, _u, _mid, reasons, _properties: self.answers.put(reasons)
        self.client.on_publish = lambda _c, _u, mid, reason, _properties: self.answers.put((mid, reason))
        self.client.on_disconnect = lambda _c, _u, _flags, reason, _properties: self.ends.put(reason)
        if will:
            self.client.will_set(**will)

    def connect(self, receive_maximum=None):
        arguments = {}
        if self.version == MQTTv5:
            properties = Properties(PacketTypes.CONNECT)
            if self.session is not None:
                properties.SessionExpiryInterval = self.session
            if receive_maximum is not None:
                properties.ReceiveMaximum = receive_maximum
            arguments = {"clean_start": self.session is None, "properties": properties}
        variable = "HTTP_ADDRESS" if os.environ.get("TRANSPORT") == "websockets" else "MQTT"
        host, port = os.environ[variable].rsplit(":", 1)
        self.client.connect(host, int(port), 30, **arguments)
        self.client.loop_start()
        self.flags, self.reason, self.properties = self.answers.get(timeout=PATIENCE)
        return self

    def subscribe(self, topic, qos=1, **options):
        if options:
            self.client.subscribe(topic, options=SubscribeOptions(qos=qos, **options))
        else:
            self.client.subscribe(topic, qos)
        reasons = self.answers.get(timeout=PATIENCE)
        return [reason.value for reason in reasons]

    def publish(self, topic, payload, qos=1, retain=False, properties=None):
        """The reason of its acknowledgement."""
        sent = self.client.publish(topic, payload, qos, retain, properties)
        mid, reason = self.answers.get(timeout=PATIENCE)
        assert mid == sent.mid, (mid, sent.mid)
        return reason.value

    def next(self):
        return self.messages.get(timeout=PATIENCE)

    def nothing(self, seconds=0.5):
        try:
            message = self.messages.get(timeout=seconds)
        except queue.Empty:
            return
        raise AssertionError(f"{message.topic}: {message.payload}")

    def disconnect(self):
        self.client.disconnect()
        self.ends.get(timeout=PATIENCE)
        self.client.loop_stop()

    def vanish(self):
        """The connection breaks, without a DISCONNECT."""
        connection = self.client.socket()
        connection = getattr(connection, "_socket", connection)
        self.client.on_disconnect = None
        self.client._reconnect_on_failure = False
        self.client.loop_stop()
        connection.shutdown(socket.SHUT_RDWR)


def http(method, path, body=None, headers=()):
    request = urllib.request.Request(f"{os.environ['HTTP']}{path}", body, dict(headers), method=method)
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as refused:
        return refused.code, refused.read()


def page(channel):
    status, body = http("GET", f"/channels/{channel}?from=earliest", headers={"accept": "application/cloudevents-batch+json"}.items())
    assert status == 200, (status, body)
    return json.loads(body)
