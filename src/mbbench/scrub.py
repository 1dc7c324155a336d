"""Messages without absolute paths: a record names no user, no folder and no machine."""

import re

_NAME = r"[^\s\\/:'\"<>|]+"
_PATH = re.compile(
    r"(?P<url>\b(?!file:)[A-Za-z][\w+.-]+://\S+)"  # is kept
    # In quotes a path may have spaces; escaped, its backslashes are doubled.
    r"|(?P<quote>['\"])(?:[A-Za-z]:)?[\\/][^'\"\n]*[\\/](?P<quoted>[^'\"\\/\n]+)(?P=quote)"
    rf"|(?<![\w.\\/])(?:[A-Za-z]:[\\/]+(?:{_NAME}[\\/]+)*|[\\/]+(?:{_NAME}[\\/]+)+)(?P<last>{_NAME})"
)


def scrub(text: str) -> str:
    """Cut every absolute path in a message down to its last part, so that no record names a user or a folder."""

    def shortened(found: re.Match[str]) -> str:
        quote = found["quote"] or ""
        return found["url"] or quote + (found["quoted"] or found["last"]) + quote

    return _PATH.sub(shortened, text)
