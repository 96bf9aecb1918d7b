"""How reactions leave: the dispatcher of the outbox, the pre-send check, routes and CloudEvents."""
