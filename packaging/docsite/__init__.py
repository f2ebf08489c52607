"""Makes the documentation's site from the Markdown of the repository: `make docs`."""
