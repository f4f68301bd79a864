"""URLs of databases, whose passwords are not shown."""

import re

#: Everything from the colon after the user, or after the scheme if no user is found, to the last @. The rule is
#: permissive because URLs can be mistyped in many ways: it can hide something else, such as a component of a path.
USER_AND_PASSWORD = re.compile(
    r"""
    ^(?:([^:]*://[^:]*:)                # scheme://user:
    |([^:]*:)(?!//                      # user: or the like, but not the scheme of a URL without a password,
        |(?<=\b[A-Za-z]:)[/\\][^:]*$    # the drive of a path,
        |(?<=\bjournal:)/[^:]*$))       # or the prefix of a journal
    .*@""",
    re.DOTALL | re.VERBOSE,
)
PASSWORD_IN_QUERY = re.compile(r"((?:password|passwd|pwd)=)[^&\s'\"]*", re.IGNORECASE)


def hide_password(text: str) -> str:
    """Replace the password in a URL, or in the repr of one, by asterisks, also if the URL is mistyped."""
    return PASSWORD_IN_QUERY.sub(r"\1***", USER_AND_PASSWORD.sub(r"\1\2***@", text))


class DatabaseURL(str):
    """URL of a database whose repr does not show the password."""

    __slots__ = ()

    def __repr__(self) -> str:
        return hide_password(super().__repr__())
