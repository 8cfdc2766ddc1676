"""The one family of errors that petmood raises on purpose.

    PetmoodError
    ├── UserError    what was asked cannot be done as asked            exit code 2
    └── RunError     the work was started and could not be finished    exit code 1

A message follows one formula: ``<thing> <value got> <what is wrong>; <what is allowed or was found>.`` The hint is what
to do next. The command line prints both as one paragraph, without a traceback.
"""


class PetmoodError(Exception):
    """Base of all expected errors: a message that says what and where, and a hint that says what to do next."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __reduce__(self) -> tuple[object, ...]:
        """Keep the hint when the error crosses a process boundary."""
        return (_rebuild, (type(self), self.message, self.hint))

    def __str__(self) -> str:
        return f"{self.message}\nhint: {self.hint}" if self.hint else self.message


class UserError(PetmoodError):
    """Wrong arguments, missing or unusable input: nothing was started (exit code 2)."""

    exit_code = 2


class RunError(PetmoodError):
    """The work was started and could not be finished; what was finished is kept (exit code 1)."""

    exit_code = 1


def _rebuild(kind: type[PetmoodError], message: str, hint: str) -> PetmoodError:
    return kind(message, hint=hint)
