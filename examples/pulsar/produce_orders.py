"""Sends orders to a Pulsar topic that has a JSON schema, as any other program of the company would: it knows nothing of Meshgate.

    PULSAR_URL=pulsar://localhost:6650 python produce_orders.py --count 100
"""

import argparse
import os

import pulsar
from pulsar.schema import JsonSchema, Record, String


class Order(Record):
    order_id = String()
    status = String()


def parse():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--count", type=int, default=100)
    options.add_argument("--topic", default="persistent://public/default/orders")
    return options.parse_args()


def main():
    arguments = parse()
    client = pulsar.Client(
        os.environ.get("PULSAR_URL", "pulsar://localhost:6650"),
        logger=pulsar.ConsoleLogger(pulsar.LoggerLevel.Error),
    )
    producer = client.create_producer(arguments.topic, schema=JsonSchema(Order))
    for order_id in range(arguments.count):
        producer.send(Order(order_id=str(order_id), status="CREATED"))
    client.close()
    print(f"sent {arguments.count} orders to {arguments.topic}")


main()
