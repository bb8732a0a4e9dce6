"""A plain Pulsar program on the other side of the gateway: reads messages, one JSON document a line.

    messages.py read TOPIC COUNT

Keys, values, and names and values of properties are base64.
"""

import base64
import json
import os
import sys

import pulsar

PATIENCE_MILLISECONDS = 30_000


def encoded(raw):
    return base64.b64encode(raw).decode()


def main():
    _, topic, count = sys.argv[1:]
    client = pulsar.Client(os.environ["PULSAR_URL"], logger=pulsar.ConsoleLogger(pulsar.LoggerLevel.Error))
    reader = client.create_reader(topic, pulsar.MessageId.earliest)
    for _ in range(int(count)):
        message = reader.read_next(PATIENCE_MILLISECONDS)
        headers = [[name, encoded(value.encode())] for name, value in message.properties().items()]
        print(json.dumps({"value": encoded(message.data()), "headers": headers}))
    client.close()


main()
