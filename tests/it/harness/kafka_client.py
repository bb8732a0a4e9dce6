"""A Kafka client that shares no code with the gateway.

    kafka_client.py HOST:PORT read TOPIC            prints PARTITION OFFSET CE_ID VALUE of every record
    kafka_client.py HOST:PORT remake TOPIC COUNT    deletes the topic and at once makes it again, with COUNT partitions
    kafka_client.py HOST:PORT grow TOPIC COUNT      adds partitions, up to COUNT
    kafka_client.py HOST:PORT trim TOPIC OFFSET     deletes the records before this offset in partition 0
    kafka_client.py HOST:PORT committed GROUP       prints TOPIC PARTITION OFFSET of every position that the group has committed
"""

import sys

from kafka import KafkaConsumer, TopicPartition
from kafka.admin import KafkaAdminClient


def read(servers, topic):
    consumer = KafkaConsumer(
        bootstrap_servers=servers,
        enable_auto_commit=False,
        auto_offset_reset="none",
        check_crcs=True,
        max_poll_records=5000,
        max_partition_fetch_bytes=4 << 20,
    )
    partitions = [TopicPartition(topic, number) for number in sorted(consumer.partitions_for_topic(topic))]
    consumer.assign(partitions)
    starts, ends = consumer.beginning_offsets(partitions), consumer.end_offsets(partitions)
    for partition in partitions:
        consumer.seek(partition, starts[partition])
    while any(consumer.position(partition) < ends[partition] for partition in partitions):
        for partition, records in consumer.poll(timeout_ms=1000).items():
            for record in records:
                ids = [value.decode() for name, value in record.headers if name == "ce_id"]
                print(partition.partition, record.offset, *ids, record.value.decode())
    consumer.close()


def remake(servers, topic, count):
    admin = KafkaAdminClient(bootstrap_servers=servers)
    admin.delete_topics([topic])
    while not is_made(admin, topic, int(count)):
        pass
    admin.wait_for_topics([topic])
    admin.close()


def is_made(admin, topic, count):
    """The broker refuses to make it while the old one is being deleted."""
    answer = admin.create_topics({topic: {"num_partitions": count}}, raise_errors=False)
    return answer["topics"][0]["error_code"] == 0


def grow(servers, topic, count):
    admin = KafkaAdminClient(bootstrap_servers=servers)
    admin.create_partitions({topic: int(count)})
    admin.close()


def trim(servers, topic, offset):
    admin = KafkaAdminClient(bootstrap_servers=servers)
    admin.delete_records({TopicPartition(topic, 0): int(offset)})
    admin.close()


def committed(servers, group):
    admin = KafkaAdminClient(bootstrap_servers=servers)
    for partition, at in admin.list_group_offsets(group)[group].items():
        if at.offset >= 0:
            print(partition.topic, partition.partition, at.offset)
    admin.close()


COMMANDS = {"read": read, "remake": remake, "grow": grow, "trim": trim, "committed": committed}


def main():
    servers, command, *arguments = sys.argv[1:]
    COMMANDS[command](servers, *arguments)


main()
