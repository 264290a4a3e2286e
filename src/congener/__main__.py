"""python -m congener."""

from congener.cli import main

main()
