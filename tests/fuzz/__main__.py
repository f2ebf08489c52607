"""Fuzz one target for a while: `python -m fuzz dialog 60`; a crash leaves its input in build/fuzz and exits non-zero.

A run feeds on what earlier runs found, in build/fuzz, and on the seeds, which are good servers' answers.
"""

import sys
from pathlib import Path

from testbed.bootstrap import fuzzing_obstacle

BUILD = Path("build/fuzz")


def main() -> None:
    """Read the arguments and hand over to libFuzzer, which ends the process."""
    if obstacle := fuzzing_obstacle():
        sys.exit(f"fuzz: {obstacle}.")
    import atheris  # noqa: PLC0415 - where it can be installed

    name, seconds = sys.argv[1], int(sys.argv[2])
    with atheris.instrument_imports(include=["mailtls", "fuzz.targets"]):
        from fuzz.targets import TARGETS  # noqa: PLC0415 - instrumented at import
    corpus = BUILD / name
    corpus.mkdir(parents=True, exist_ok=True)
    _sow(name, corpus)
    options = [f"-max_total_time={seconds}", "-timeout=10", "-rss_limit_mb=1024", "-max_len=65536", "-verbosity=0"]
    atheris.Setup([sys.argv[0], *options, f"-artifact_prefix={BUILD}/{name}-", str(corpus)], TARGETS[name])
    print(f"fuzzing {name} for {seconds} s", flush=True)
    atheris.Fuzz()


def _sow(name: str, corpus: Path) -> None:
    """Write the seeds that are not there yet."""
    from fuzz.seeds import seeds  # noqa: PLC0415 - after the targets, so that these are instrumented

    for place, seed in enumerate(seeds(name)):
        (corpus / f"seed-{place}").write_bytes(seed)


if __name__ == "__main__":
    main()
