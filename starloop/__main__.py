"""`python -m starloop`: the command line."""

from starloop.cli import main

main()
