"""The HTTP API under /api/v1: what devices, suppliers and programs say and ask, as CONTRACT sections 2 and 3 name it."""
