"""Publishes orders over one WebSocket, and bills them over another as a member of the group `billing`.

    python billing.py ws://127.0.0.1:8080
"""

import json
import sys
import uuid

from websockets.sync.client import connect

URL = sys.argv[1] if len(sys.argv) > 1 else "ws://127.0.0.1:8080"


def event(kind, source, data):
    return json.dumps({"specversion": "1.0", "id": str(uuid.uuid4()), "source": source, "type": kind, "data": data})


def publish(orders):
    with connect(f"{URL}/channels/invoices/eu?role=publish") as publisher:
        for order in orders:
            publisher.send(event("com.acme.order.created", "/shop", order))
        for order in orders:  # each frame is answered, in the order in which they were sent
            answer = json.loads(publisher.recv(timeout=10))
            if answer["type"] != "io.meshgate.receipt":
                sys.exit(f"{order} is not stored: {answer['data']}")
            print(f"{order}: {answer['data']['outcome']}")


def bill(count):
    # A new group begins at `latest` unless `from` says otherwise; later its members go on where it was.
    with connect(f"{URL}/channels/invoices/*?group=billing&from=earliest") as member:
        for _ in range(count):
            order = json.loads(member.recv(timeout=10))
            print(f"bill {order['data']}")
            # Only now is it settled. Without this word it would go to another member.
            member.send(event("io.meshgate.ack", "/billing", {"deliverytags": [order["deliverytag"]]}))


publish([{"order_id": 1}, {"order_id": 2}])
bill(2)
