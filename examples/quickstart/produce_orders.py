"""Sends orders to a Kafka topic, as any other program of the company would: it knows nothing of Meshgate.

    KAFKA_BOOTSTRAP=localhost:9092 python produce_orders.py --count 100 --topic orders
"""

import argparse
import os

from kafka import KafkaProducer
from kafka.serializer import JsonSerializer


def parse():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--count", type=int, default=100)
    options.add_argument("--topic", default="orders")
    return options.parse_args()


def main():
    arguments = parse()
    producer = KafkaProducer(
        bootstrap_servers=os.environ.get("KAFKA_BOOTSTRAP", "localhost:9092").split(","),
        value_serializer=JsonSerializer(),
    )
    sent = [
        producer.send(arguments.topic, {"order_id": order_id, "status": "CREATED"})
        for order_id in range(arguments.count)
    ]
    producer.flush()
    # flush() also returns when sends have failed; get() raises for each that did.
    for future in sent:
        future.get(timeout=10)
    producer.close()
    print(f"sent {arguments.count} orders to {arguments.topic}")


main()
