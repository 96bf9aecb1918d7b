"""Entry point of `python -m starloop`."""

from starloop.cli import main

main()
