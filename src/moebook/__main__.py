"""`python -m moebook` is the command `moebook`."""

from moebook.cli import main

main()
