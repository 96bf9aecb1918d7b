"""The HTTP API under /api/v1: submissions and queries of devices, suppliers and programs (CONTRACT sections 2 and 3)."""
