"""A user's name and password for a trial login; neither logs nor tracebacks show the password."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Credentials:
    """Whom to log in as; raises ValueError for what no protocol could carry on one line."""

    username: str
    password: str = field(repr=False)

    def __post_init__(self) -> None:
        if not self.username or any(mark in self.username + self.password for mark in "\r\n\0"):
            raise ValueError("give a user name, and leave line breaks and NUL out of it and of the password")
