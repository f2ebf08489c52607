"""Make the project's Python environment: the first thing that runs on a bare machine, so standard library only.

The environment belongs to a Python version and to the content of requirements-dev.lock and requirements-fuzz.lock; the
file .complete is its last, so an interrupted run leaves none that looks whole.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import time
from pathlib import Path

_PROJECT = Path(__file__).resolve().parents[2]
_LOCK, _FUZZ_LOCK = _PROJECT / "requirements-dev.lock", _PROJECT / "requirements-fuzz.lock"
_OLDEST, _TOO_NEW = (3, 11), (3, 14)
_SHOWN = 3000  # characters of what pip says when it fails
_USAGE = "usage: bootstrap.py folder | make"


def environment() -> Path:
    """Where the environment for this Python and these locks is, or will be."""
    digest = hashlib.sha256(_LOCK.read_bytes() + _FUZZ_LOCK.read_bytes()).hexdigest()[:12]
    version = ".".join(map(str, sys.version_info[:3]))
    root = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(root).expanduser() / "mailtls" / "python" / f"{version}-{digest}"


def fuzzing_obstacle() -> str | None:
    """Say why the fuzzer cannot be installed here, None where it can: building it takes a compiler of its own."""
    machine = f"{platform.system()} on {platform.machine()}"
    if machine != "Linux on x86_64":
        return f"atheris is published for Linux on x86_64 only, and this is {machine}"
    if platform.libc_ver()[0] != "glibc":
        return "atheris is published for the C library of GNU only, and this Python has another"
    return None


def make() -> None:
    """Make the environment, unless it is there; of two callers one waits for the other."""
    folder = environment()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        complete = folder / ".complete"
        if complete.exists():
            return
        began_at = time.monotonic()
        _say(f"Python {folder.name}: making the environment (once) ...")
        shutil.rmtree(folder, ignore_errors=True)
        _create(folder)
        _install(folder, _LOCK)
        if obstacle := fuzzing_obstacle():
            _say(f"Fuzzing is left out: {obstacle}.")
        else:
            _install(folder, _FUZZ_LOCK, "--only-binary=:all:")
        complete.touch()
        _say(f"Python {folder.name}: {time.monotonic() - began_at:.1f}s")


def _create(folder: Path) -> None:
    """Debian keeps what `venv` needs in a package of its own, so that may have to come first."""
    command = [sys.executable, "-m", "venv", str(folder)]
    if subprocess.run(command, check=False, capture_output=True).returncode == 0:
        return
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        sys.exit("mailtls: this Python has no `venv`: install it (on Debian: apt-get install python3-venv).")
    _say("Debian packages: installing python3-venv ...")
    for arguments in (["update"], ["install", "--yes", "--no-install-recommends", "python3-venv"]):
        subprocess.run(["apt-get", "-qq", *arguments], check=False, stdout=subprocess.DEVNULL)
    subprocess.run([*command, "--clear"], check=True)


def _install(folder: Path, lock: Path, *options: str) -> None:
    command = [
        str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
        "--require-hashes", f"--requirement={lock}", *options,
    ]  # fmt: skip
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        _say(done.stderr.strip()[-_SHOWN:])
        sys.exit(f"mailtls: pip could not install {lock.name} (see above): is a package index reachable?")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main(arguments: list[str]) -> None:
    """Print the environment's folder, or make it."""
    if not _OLDEST <= sys.version_info[:2] < _TOO_NEW:
        found = ".".join(map(str, sys.version_info[:2]))
        sys.exit(f"mailtls: Python 3.11 to 3.13 is needed, and this is {found}: name one by `make PYTHON=python3.13`.")
    if arguments == ["folder"]:
        print(environment())
    elif arguments == ["make"]:
        make()
    else:
        sys.exit(_USAGE)


if __name__ == "__main__":
    main(sys.argv[1:])
