"""URLs of databases, whose passwords are not shown."""

import re

#: A scheme and a user, one of which may be missing, followed by a password, which ends at the last @.
USER_AND_PASSWORD = re.compile(
    r"""
    ^((?:\w*\(?\w?['"])?            # beginning of the repr of a str, of bytes or of a path
    (?:[A-Za-z][\w+.-]*:/+[^:/@]*   # scheme://user
    |[A-Za-z][\w+.-]*:[^:/@]+       # scheme:user
    |[^:/@]+(?=:[^/\\])):)          # user
    .*@""",
    re.DOTALL | re.VERBOSE,
)
PASSWORD_IN_QUERY = re.compile(r"((?:password|passwd|pwd)=)[^&\s'\"]*", re.IGNORECASE)


def hide_password(text: str) -> str:
    """Replace the password in a URL, or in the repr of one, by asterisks, also if the URL is mistyped."""
    return PASSWORD_IN_QUERY.sub(r"\1***", USER_AND_PASSWORD.sub(r"\1***@", text))


class DatabaseURL(str):
    """URL of a database whose repr does not show the password."""

    __slots__ = ()

    def __repr__(self) -> str:
        return hide_password(super().__repr__())
