"""What commands print: for people, for programs, for Prometheus and for CI systems."""
