"""`python -m mailtls`, and the entry points of the installed scripts."""

from mailtls.cli.app import app


def main() -> None:
    """Entry point of the `mailtls` script."""
    app(prog_name="mailtls")


def plugin() -> None:
    """Entry point of `kubectl-mailtls`, which kubectl runs as `kubectl mailtls`."""
    app(prog_name="kubectl mailtls")


if __name__ == "__main__":
    main()
