"""The one exception that is written for the person at the keyboard."""


class UserError(Exception):
    """Something that a user can mend.

    Its message names the file or key, what was expected, what was found and the next step. Stages print it without a
    traceback and exit with code 1; every other exception is a fault of ours and keeps its traceback.
    """
