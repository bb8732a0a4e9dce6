"""A plain Kafka program on the other side of the gateway: writes and reads records, one JSON document a line.

    records.py read TOPIC COUNT    the records of all partitions, in order of partition and offset
    records.py events TOPIC COUNT                the same, as the CloudEvents SDK for Python understands them
    records.py write TOPIC < RECORDS             [--compression NAME] [--transaction commit|abort]
    records.py write-events TOPIC < EVENTS       JSON events, written by the SDK; [--structured]
    records.py partitions COUNT < KEYS           where kafka-python's partitioner puts each key

Keys, values, and names and values of headers are base64; a null one is null.
"""

import argparse
import base64
import json
import os
import sys
import time

from cloudevents.core.bindings import kafka as binding
from cloudevents.core.formats.json import JSONFormat
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.partitioner.default import murmur2

SERVERS = os.environ["KAFKA_BOOTSTRAP"].split(",")
PATIENCE_SECONDS = 30
LARGEST_RECORD = 16 << 20


class Name(str):
    """A header's name that need not be UTF-8, as programs in other languages may write it."""

    def __new__(cls, raw):
        name = super().__new__(cls, raw.decode("utf-8", "replace"))
        name.raw = raw
        return name

    def encode(self, *_):
        return self.raw


def encoded(raw):
    return None if raw is None else base64.b64encode(raw).decode()


def decoded(text):
    return None if text is None else base64.b64decode(text)


def lines():
    return [json.loads(line) for line in sys.stdin if line.strip()]


def consume(topic, count):
    consumer = KafkaConsumer(bootstrap_servers=SERVERS, isolation_level="read_committed")
    partitions = [TopicPartition(topic, number) for number in sorted(consumer.partitions_for_topic(topic))]
    consumer.assign(partitions)
    consumer.seek_to_beginning()
    records = []
    deadline = time.monotonic() + PATIENCE_SECONDS
    while len(records) < count and time.monotonic() < deadline:
        for batch in consumer.poll(timeout_ms=200).values():
            records.extend(batch)
    consumer.close()
    if len(records) < count:
        sys.exit(f"{topic}: only {len(records)} of {count} records within {PATIENCE_SECONDS} s")
    return sorted(records, key=lambda record: (record.partition, record.offset))


def read(arguments):
    for record in consume(arguments.topic, arguments.count):
        print(json.dumps({
            "partition": record.partition,
            "offset": record.offset,
            "timestamp": record.timestamp,
            "key": encoded(record.key),
            "value": encoded(record.value),
            "headers": [[name, encoded(value)] for name, value in record.headers],
        }))


def events(arguments):
    for record in consume(arguments.topic, arguments.count):
        message = binding.KafkaMessage(headers=dict(record.headers), key=record.key, value=record.value or b"")
        event = binding.from_kafka_event(message)
        print(JSONFormat().write(event).decode())


def producer(**settings):
    return KafkaProducer(bootstrap_servers=SERVERS, max_request_size=LARGEST_RECORD, linger_ms=5, **settings)


def send_all(sender, topic, records):
    sent = [sender.send(topic, **record) for record in records]
    sender.flush()
    for future in sent:
        future.get(timeout=PATIENCE_SECONDS)


def write(arguments):
    records = [
        {
            "key": decoded(line.get("key")),
            "value": decoded(line.get("value")),
            "headers": [(Name(decoded(name)), decoded(value)) for name, value in line.get("headers", [])],
            "timestamp_ms": line.get("timestamp"),
            "partition": line.get("partition"),
        }
        for line in lines()
    ]
    if arguments.transaction is None:
        send_all(producer(compression_type=arguments.compression), arguments.topic, records)
        return
    sender = producer(compression_type=arguments.compression, transactional_id=f"{arguments.topic}-writer")
    sender.init_transactions()
    sender.begin_transaction()
    send_all(sender, arguments.topic, records)
    sender.commit_transaction() if arguments.transaction == "commit" else sender.abort_transaction()


def write_events(arguments):
    to_message = binding.to_structured_event if arguments.structured else binding.to_binary_event
    messages = [to_message(JSONFormat().read(None, json.dumps(line))) for line in lines()]
    records = [
        {
            "key": message.key.encode() if message.key else None,
            "value": message.value,
            "headers": list(message.headers.items()),
        }
        for message in messages
    ]
    send_all(producer(), arguments.topic, records)


def partitions(arguments):
    for line in lines():
        print((murmur2(decoded(line)) & 0x7FFFFFFF) % arguments.count)


def parse():
    options = argparse.ArgumentParser()
    commands = options.add_subparsers(required=True)

    def command(name, run, *positional):
        parser = commands.add_parser(name)
        parser.set_defaults(run=run)
        for argument in positional:
            parser.add_argument(argument, type=int if argument == "count" else str)
        return parser

    command("read", read, "topic", "count")
    command("events", events, "topic", "count")
    writing = command("write", write, "topic")
    writing.add_argument("--compression")
    writing.add_argument("--transaction", choices=["commit", "abort"])
    command("write-events", write_events, "topic").add_argument("--structured", action="store_true")
    command("partitions", partitions, "count")
    return options.parse_args()


def main():
    arguments = parse()
    arguments.run(arguments)


main()
