"""Twenty coffee corners that use up 96 % of their beans, one bean a message: what they have used is known exactly."""

from __future__ import annotations

from dataclasses import dataclass

DEVICES = 20
DAYS = 50.0


@dataclass(frozen=True)
class CoffeeFleet:
    """readings: messages in all; each is one use, numbered, measured over the last fifty days."""

    readings: int

    @property
    def uses_per_device(self) -> int:
        """Uses of one corner."""
        return self.readings // DEVICES

    @property
    def capacity(self) -> float:
        """What one corner holds when full."""
        return self.uses_per_device * 1.04

    def fleet(self) -> str:
        """The fleet file: twenty customers who want their beans delivered."""
        capacity = self.capacity
        head = '[[suppliers]]\nid = "acme"\nlead_time_days = [2.0, 5.0]\nprice = 20.0\n'
        return head + "".join(
            f'[[customers]]\nid = "c{n:02}"\nexperience = "auto"\nconsents = ["replenishment"]\n'
            f'[[devices]]\nid = "corner-{n:02}"\ncustomer = "c{n:02}"\nprofile = "usage-counter"\n'
            f'[devices.slots.beans]\ncapacity = {capacity}\npack = {capacity}\nsuppliers = ["acme"]\nstockout_cost = 100.0\n'
            for n in range(DEVICES)
        )

    def messages(self, now_s: float) -> list[tuple[str, bytes]]:
        """Every message, in order."""
        made = []
        for number in range(self.readings):
            turn, device = divmod(number, DEVICES)
            at = now_s - DAYS * 86_400 * (1.0 - turn / self.uses_per_device)
            payload = f'{{"at": {at:.3f}, "boot": 1, "seq": {turn}, "values": {{"beans_used": 1}}}}'
            made.append((f"starloop/v1/corner-{device:02}/telemetry", payload.encode()))
        return made

    def orders(self) -> set[str]:
        """The ids of what is ordered: one order each."""
        return {f"corner-{n:02}/beans/1/order/1" for n in range(DEVICES)}

    def expected_levels(self) -> dict[str, float]:
        """What is left in each corner, by device."""
        return {f"corner-{n:02}": self.capacity - self.uses_per_device for n in range(DEVICES)}
