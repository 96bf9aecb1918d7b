"""A device: publishes one level by MQTT and prints the first reaction to it.

    python examples/device.py DEVICE SLOT LEVEL [PORT]

QoS 1 matters: the acknowledgement means that the reading is on disk.
"""

import json
import sys

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion

device, slot, level, port = sys.argv[1], sys.argv[2], float(sys.argv[3]), int([*sys.argv, "1883"][4])


def publish(client: Client, *_: object) -> None:
    client.subscribe(f"starloop/v1/{device}/reactions", qos=1)
    client.publish(f"starloop/v1/{device}/telemetry", json.dumps({"values": {slot: level}}), qos=1)


def show(client: Client, _: object, message: MQTTMessage) -> None:
    event = json.loads(message.payload)
    print(event["type"], "-", event["data"]["because"])
    client.disconnect()


client = Client(CallbackAPIVersion.VERSION2, client_id=device)
client.on_connect, client.on_message = publish, show
client.connect("127.0.0.1", port)
client.loop_forever()
