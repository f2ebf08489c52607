"""Packets that the kernel drops, as a firewall or a NetworkPolicy does."""

import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def dropped(hook: str, match: str) -> Iterator[None]:
    """Drop what matches, such as `tcp dport 25`, until the block ends; `hook` is input or output."""
    table = f"test-{uuid.uuid4().hex[:8]}"
    rules = f"table inet {table} {{ chain only {{ type filter hook {hook} priority 0; {match} drop; }}; }}"
    subprocess.run(["nft", "-f", "-"], input=rules, text=True, check=True)
    try:
        yield
    finally:
        subprocess.run(["nft", "delete", "table", "inet", table], check=True)
