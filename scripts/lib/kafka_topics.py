"""scripts/brokers topic: makes, deletes, trims and lists topics of the Kafka at $KAFKA_BOOTSTRAP."""

import argparse
import os
import sys
import time

from kafka import TopicPartition
from kafka.admin import KafkaAdminClient
from kafka.errors import KafkaError, TopicAlreadyExistsError, for_code

WAIT_SECONDS = 15
END_OF_PARTITION = -1


class Refused(Exception):
    """The broker's own words about one topic."""



def parse():
    options = argparse.ArgumentParser(prog="scripts/brokers topic")
    commands = options.add_subparsers(dest="command", required=True)

    create = commands.add_parser("create", help="make a topic and wait until it has leaders")
    create.add_argument("name")
    create.add_argument("--partitions", type=int, default=1)
    create.add_argument("--config", action="append", default=[], metavar="KEY=VALUE", type=pair)
    create.add_argument("--if-not-exists", action="store_true")

    delete = commands.add_parser("delete", help="delete a topic and wait until it is gone")
    delete.add_argument("name")

    trim = commands.add_parser("trim", help="delete the records below an offset, in every partition")
    trim.add_argument("name")
    trim.add_argument("--before", type=int, default=END_OF_PARTITION, metavar="OFFSET", help="default: all records")

    commands.add_parser("list", help="print the names of all topics")
    return options.parse_args()


def pair(value):
    key, equals, setting = value.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{value} is not KEY=VALUE")
    return key, setting


def check(answer):
    (topic,) = answer["topics"]
    code = topic["error_code"]
    if code:
        raise Refused(topic.get("error_message") or for_code(code).__name__)


def create(admin, arguments):
    topic = {"num_partitions": arguments.partitions, "configs": dict(arguments.config)}
    answer = admin.create_topics({arguments.name: topic}, raise_errors=False)
    already_there = arguments.if_not_exists and answer["topics"][0]["error_code"] == TopicAlreadyExistsError.errno
    if not already_there:
        check(answer)
    admin.wait_for_topics([arguments.name], timeout_ms=WAIT_SECONDS * 1000)


def delete(admin, arguments):
    check(admin.delete_topics([arguments.name], raise_errors=False))
    deadline = time.monotonic() + WAIT_SECONDS
    while arguments.name in admin.list_topics():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{arguments.name} is still there")
        time.sleep(0.05)


def trim(admin, arguments):
    topics = admin.describe_topics([arguments.name])
    check({"topics": topics})
    partitions = [TopicPartition(arguments.name, item["partition_index"]) for item in topics[0]["partitions"]]
    admin.delete_records({partition: arguments.before for partition in partitions})


def list_all(admin, _arguments):
    for name in sorted(admin.list_topics()):
        print(name)


COMMANDS = {"create": create, "delete": delete, "trim": trim, "list": list_all}


def main():
    arguments = parse()
    servers = os.environ["KAFKA_BOOTSTRAP"].split(",")
    try:
        with KafkaAdminClient(bootstrap_servers=servers, bootstrap_timeout_ms=WAIT_SECONDS * 1000) as admin:
            COMMANDS[arguments.command](admin, arguments)
    except Refused as refusal:
        sys.exit(f"topic {arguments.command} {arguments.name}: {refusal}")
    except (KafkaError, TimeoutError) as error:
        sys.exit(f"topic {arguments.command}: {type(error).__name__}: {error}")


main()
