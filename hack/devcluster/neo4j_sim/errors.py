"""How the simulated tools fail."""

from __future__ import annotations


class CommandFailed(Exception):
    """A command that ends with a message on standard error and an exit code (1 unless told)."""

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class ServerError(Exception):
    """An answer of the server that is a failure: Neo4j's status code and its text."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
