"""Errors that a user can mend."""


class InputError(ValueError):
    """Input that cannot be used; the message is one line naming the file, the field and the value.

    The command line prints it and exits with code 2; nothing has been written.
    """
