"""How a person signs in: by a token, which is all that the API server knows people by, and a cookie that keeps it."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from cryptography.fernet import Fernet, InvalidToken

from mailtls.page.frame import Board, Page, document
from mailtls.page.markup import join, tag

UNKNOWN: Final = "The API server does not know this token, or it has expired."
TOO_LONG: Final = (
    "The token is too long for a cookie, which browsers keep up to 4,096 octets. Use kubectl mailtls page, or send the "
    "token as Authorization: Bearer."
)
_LONGEST: Final = 4000  # octets of a value: a browser keeps 4,096 with the name (RFC 6265 section 6.1)


class Cookie:
    """Keeps a token in the browser: as it is where the page is served by TLS, else encrypted for this process.

    Ports mean nothing to cookies (RFC 6265 section 8.5): what one forwarded port of a machine has set, the browser
    sends to all others, which may lead to anybody's pod. By TLS it is for one host's name, and good for all replicas.
    """

    def __init__(self, *, is_secure: bool) -> None:
        self._is_secure = is_secure
        # A browser sends a cookie of this name back only over TLS, and takes it from no sub-domain.
        self._name = "__Host-mailtls" if is_secure else "mailtls"
        self._box = Fernet(Fernet.generate_key())

    def keeping(self, token: str) -> dict[str, str] | None:
        """Return the header that keeps a token; None for one that a browser would not keep."""
        value = token if self._is_secure else self._box.encrypt(token.encode()).decode()
        return None if len(value) > _LONGEST else self._header(value)

    def forgetting(self) -> dict[str, str]:
        """Return the header that ends it."""
        return self._header("", "; Max-Age=0")

    def token(self, cookies: Mapping[str, str]) -> str:
        """Return the token that a request brings, whatever it looks like; empty for none that is ours."""
        value = cookies.get(self._name, "")
        if self._is_secure or not value:
            return value
        try:
            return self._box.decrypt(value.encode(errors="replace")).decode()
        except InvalidToken:
            return ""

    def _header(self, value: str, more: str = "") -> dict[str, str]:
        secure = "; Secure" if self._is_secure else ""
        return {"Set-Cookie": f"{self._name}={value}; Path=/; HttpOnly; SameSite=Strict{secure}{more}"}


def sign_in(board: Board, root: str, trouble: str = "") -> Page:
    """Ask for a token; `trouble` says what was wrong with the one before."""
    said = tag("p", f"✕ {trouble}", class_="bad", role="alert")
    field = tag("input", type="password", id="token", name="token", required=True, autocomplete="off")
    form = tag(
        "form",
        tag("div", tag("label", "Bearer token", for_="token"), field),
        tag("div", tag("button", "Sign in", type="submit")),
        method="post",
        action=f"{root}login",
    )
    how = tag("p", "A token of a service account: ", tag("code", "kubectl create token NAME -n NAMESPACE"), ".")
    without = tag("p", "Without any token: ", tag("code", "kubectl mailtls page"), " on your own machine.")
    section = tag("section", said if trouble else None, form, how, without)
    return Page(HTTPStatus.UNAUTHORIZED, document("Sign in", join([tag("h1", "Sign in"), section]), board, root))
