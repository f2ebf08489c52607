"""Pure renderings of what a command found: for people, for machines, for CI and for Prometheus."""
