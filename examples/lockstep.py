"""A harness: drives `starloop replay` in lockstep, with a simulated oil tank on the other side.

    python examples/lockstep.py FLEET [DAYS]

A line goes in, a tick is answered before the next line is sent, and what was ordered is delivered three days later. The harness
knows the true level, so it can say how long the tank was empty. Any language that reads and writes JSON Lines can do the same.
"""

import json
import random
import subprocess
import sys

DAY_S = 86_400
START_S = 1_764_000_000
DELIVERY_DAYS = 3


def main(fleet: str, days: int) -> None:
    command = [sys.executable, "-m", "starloop", "replay", "--fleet", fleet, "--readings", "-"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as replay:

        def send(line: dict) -> None:
            replay.stdin.write(json.dumps(line) + "\n")
            replay.stdin.flush()

        def answers() -> list[dict]:
            found = []
            while "tick" not in (line := json.loads(replay.stdout.readline())):
                found.append(line)
            return found

        chance, level, empty, under_way, orders = random.Random(7), 450.0, 0, {}, 0
        for step in range(days * 4):
            at = START_S + step * DAY_S // 4
            level = max(level - chance.uniform(1.0, 5.0), 0.0)
            empty += level == 0.0
            for order, (due, quantity) in list(under_way.items()):
                if due <= at:
                    level += quantity
                    send({"at": at, "outcome": {"id": f"done-{order}", "reaction": order, "result": "delivered"}})
                    del under_way[order]
            measured = round(level + chance.gauss(0.0, 6.0), 1)
            send({"at": at, "topic": "starloop/v1/tank-7/telemetry", "payload": {"values": {"oil": measured}}})
            send({"at": at, "tick": True})
            for answer in answers():
                if answer["type"] == "starloop.order.requested":
                    orders += 1
                    under_way[answer["id"]] = (at + DELIVERY_DAYS * DAY_S, answer["data"]["quantity"])
                    print(f"day {step // 4}: {answer['data']['because']}")
        replay.stdin.close()
    print(f"{orders} orders in {days} days, empty for {empty * 6} hours")


if __name__ == "__main__":
    main(sys.argv[1], int([*sys.argv, "90"][2]))
