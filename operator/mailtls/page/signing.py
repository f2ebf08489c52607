"""The form by which a person signs in: a token, because the API server knows people by nothing else that a form has."""

from http import HTTPStatus

from mailtls.page.frame import Board, Page, document
from mailtls.page.markup import join, tag


def sign_in(board: Board, root: str, *, is_refused: bool) -> Page:
    """Ask for a token; `is_refused` after one that the API server does not know."""
    said = tag("p", "✕ The API server does not know this token, or it has expired.", class_="bad", role="alert")
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
    section = tag("section", said if is_refused else None, form, how, without)
    return Page(HTTPStatus.UNAUTHORIZED, document("Sign in", join([tag("h1", "Sign in"), section]), board, root))
