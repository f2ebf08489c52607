"""`python -m demo`: set the stage, tell the story on it, say how to look around and how to clean up."""

from __future__ import annotations

import argparse
import sys
import time
from typing import TYPE_CHECKING

import requests

from demo import embedded, users
from demo.story import Story, screen
from testbed.api import Refused
from testbed.console import Trouble
from testbed.sandbox import TooLate

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from demo.stage import Stage


def main(arguments: list[str] | None = None) -> int:
    """Run the demo; what cannot go on is one sentence, not a traceback."""
    options = parser().parse_args(arguments)
    started_at = time.monotonic()
    try:
        with stage(options.context, options.images) as ready:
            story = Story(ready, started_at)
            say_goodbye(story, proved_in=story.tell())
    except (Trouble, TooLate, Refused) as trouble:
        screen.print(f"demo: {trouble}", style="red", markup=False)
        return 1
    except requests.RequestException as problem:
        screen.print(f"demo: the API server does not answer: {problem}", style="red", markup=False)
        return 1
    return 0


def parser() -> argparse.ArgumentParser:
    """What the command line knows."""
    made = argparse.ArgumentParser(prog="demo", description=__doc__)
    made.add_argument("--context", default="", help="a context of your kubeconfig; without one, the embedded cluster")
    made.add_argument("--images", default="", help="where the context's cluster finds the images, as in a registry")
    return made


def stage(context: str, images: str) -> AbstractContextManager[Stage]:
    """The cluster of the context, or the embedded one."""
    if images and not context:
        message = "IMAGES is for a cluster of yours: name its CONTEXT too"
        raise Trouble(message)
    return users.stage(context, images) if context else embedded.stage()


def say_goodbye(story: Story, proved_in: float) -> None:
    """Say how long it took, how to look around and how to clean up."""
    whole = time.monotonic() - story.started_at
    stage, namespace = story.stage, story.stage.sandbox.name
    story.title(f"From apply to proof it took {proved_in:.1f} seconds, and all that you saw {whole:.0f}. Look around:")
    for command in (
        stage.kubectl(f"get mst -n {namespace}"),
        story.look_around(),
        stage.kubectl(f"get events -n {namespace}"),
        stage.kubectl(f"logs deploy/mailtls -n {stage.operator_namespace}"),
    ):
        screen.print(f"    {command}", markup=False)
    screen.print("Clean up:")
    for command in stage.clean_up:
        screen.print(f"    {command}", markup=False)


if __name__ == "__main__":
    sys.exit(main())
