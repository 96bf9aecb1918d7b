"""A supplier's webhook: verifies each request and takes every order once.

    python examples/supplier.py [PORT]

Requests are signed as https://www.standardwebhooks.com says. The secret is the one of this supplier in the fleet file.
"""

import sys
from http.server import BaseHTTPRequestHandler, HTTPServer

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

SECRET = "whsec_c3Rhcmxvb3AtdGVzdC1zZWNyZXQtMDEyMzQ1Njc4OQ=="
webhook = Webhook(SECRET)
orders: dict[str, dict] = {}


class Orders(BaseHTTPRequestHandler):
    """Answers 401 to what is not signed with the secret, and 204 to everything else."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        try:
            event = webhook.verify(body, dict(self.headers))
        except WebhookVerificationError:
            self.answer(401)
            return
        if event["id"] not in orders and event["type"] == "starloop.order.requested":  # the same id again is a retry
            data = event["data"]
            print("order", event["id"], data["quantity"], "of", data["item"], "for", data["device"], flush=True)
        orders[event["id"]] = event
        self.answer(204)

    def answer(self, status: int) -> None:
        self.send_response(status)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """No line a request."""


if __name__ == "__main__":
    HTTPServer(("127.0.0.1", int([*sys.argv, "9000"][1])), Orders).serve_forever()
