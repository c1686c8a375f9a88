"""The one exception that a user is meant to see."""


class UserError(Exception):
    """Bad input: one line saying what is wrong, where, and what to do. The command line prints it and exits with 2."""
