"""Reads JSON values from a Kafka topic and prints them, one a line.

    KAFKA_BOOTSTRAP=localhost:9092 python consume_orders.py --from-beginning --count 100

Ends with status 1 if nothing comes for --timeout seconds before --count values are read.
"""

import argparse
import json
import os
import sys

from kafka import KafkaConsumer


def parse():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--count", type=int, default=100)
    options.add_argument("--topic", default="orders")
    options.add_argument("--from-beginning", action="store_true")
    options.add_argument("--timeout", type=float, default=10, metavar="SECONDS")
    return options.parse_args()


def main():
    arguments = parse()
    consumer = KafkaConsumer(
        arguments.topic,
        bootstrap_servers=os.environ.get("KAFKA_BOOTSTRAP", "localhost:9092").split(","),
        auto_offset_reset="earliest" if arguments.from_beginning else "latest",
        consumer_timeout_ms=int(arguments.timeout * 1000),
    )
    read = 0
    for message in consumer:
        print(json.loads(message.value), flush=True)
        read += 1
        if read == arguments.count:
            break
    consumer.close()
    if read < arguments.count:
        sys.exit(f"only {read} of {arguments.count} came within {arguments.timeout:g} s")


main()
