"""What decisions may ask of the world: one Protocol per part, so that tests can stand a fake behind each."""

from collections.abc import Mapping

Labels = Mapping[str, str]
