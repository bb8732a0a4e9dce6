"""Reads orders from a Pulsar topic that has a JSON schema, acknowledges them, and prints them, one a line.

    PULSAR_URL=pulsar://localhost:6650 python consume_orders.py --count 100

Ends with status 1 if nothing comes for --timeout seconds before --count orders are read.
"""

import argparse
import os
import sys

import pulsar
from pulsar.schema import JsonSchema, Record, String


class Order(Record):
    order_id = String()
    status = String()


def parse():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--count", type=int, default=100)
    options.add_argument("--topic", default="persistent://public/default/orders")
    options.add_argument("--subscription", default="order-processor")
    options.add_argument("--timeout", type=float, default=10, metavar="SECONDS")
    return options.parse_args()


def main():
    arguments = parse()
    client = pulsar.Client(
        os.environ.get("PULSAR_URL", "pulsar://localhost:6650"),
        logger=pulsar.ConsoleLogger(pulsar.LoggerLevel.Error),
    )
    consumer = client.subscribe(
        arguments.topic,
        arguments.subscription,
        schema=JsonSchema(Order),
        initial_position=pulsar.InitialPosition.Earliest,
    )
    read = 0
    try:
        while read < arguments.count:
            message = consumer.receive(timeout_millis=int(arguments.timeout * 1000))
            order = message.value()
            print(f"{order.order_id} {order.status}", flush=True)
            consumer.acknowledge(message)
            read += 1
    except pulsar.Timeout:
        sys.exit(f"only {read} of {arguments.count} came within {arguments.timeout:g} s")
    finally:
        client.close()


main()
