"""What is there in the end, read with the brokers' own clients."""

import collections
import re
import time

import kafka
import pulsar

# Nothing more has come for so long: that is all.
QUIET_SECONDS = 30


def gather(read, wanted):
    """Ids by how often they came: until all that are wanted have come, and nothing more does."""
    seen, last = collections.Counter(), time.monotonic()
    while True:
        come = read()
        seen.update(come)
        if come:
            last = time.monotonic()
        silence = time.monotonic() - last
        if silence > QUIET_SECONDS or silence > 3 and not wanted - seen.keys():
            return seen


def in_kafka(address, topic, wanted):
    consumer = kafka.KafkaConsumer(bootstrap_servers=address, enable_auto_commit=False, max_poll_records=5000)
    partitions = [kafka.TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic)]
    consumer.assign(partitions)
    consumer.seek_to_beginning()

    def read():
        records = [record for batch in consumer.poll(timeout_ms=500).values() for record in batch]
        return [value.decode() for record in records for name, value in record.headers if name == "ce_id"]

    seen = gather(read, wanted)
    consumer.close()
    return seen


def in_pulsar(url, topic, wanted):
    client = pulsar.Client(url, logger=pulsar.ConsoleLogger(pulsar.LoggerLevel.Error))
    reader = client.create_reader(topic, pulsar.MessageId.earliest)

    def read():
        ids, until = [], time.monotonic() + 0.5
        while time.monotonic() < until:
            try:
                ids.append(reader.read_next(500).properties()["ce_id"])
            except pulsar.Timeout:
                break
        return ids

    seen = gather(read, wanted)
    client.close()
    return seen


def in_file(path, wanted):
    """What Mosquitto's own client has printed of user properties, a message a line."""
    with open(path, encoding="utf-8") as file:
        return gather(lambda: re.findall(r"\bid:(e\d+)\b", "".join(file.readlines(1 << 20))), wanted)
