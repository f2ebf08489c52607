"""The support bundle: what is read for it, what is kept of that, and how it is written."""
