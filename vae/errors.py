"""The errors that a person's input can cause; the command line prints them as one line."""


class UserError(ValueError):
    """A wrong argument or setting; its message is one line: the value, the rule, the way out."""

    exit_code = 2


class StorageError(UserError):
    """A file that cannot be read, written or trusted, or a source of data that cannot be reached."""

    exit_code = 1


class ClusterError(UserError):
    """A Ray cluster that does not start."""

    exit_code = 1


def reason(error: Exception) -> str:
    """Return an error in one line: the message alone where it was written for a person."""
    message = " ".join(str(error).split()) or "no message"
    return message if isinstance(error, UserError) else f"{type(error).__name__}: {message[:300]}"
