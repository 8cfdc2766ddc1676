"""`python -m petmood` is `petmood`."""

from petmood.cli import main

main()
