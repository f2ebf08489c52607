"""Makes what a release consists of, from the files that Git knows: `make release`, docs/contributing/releasing.md."""
