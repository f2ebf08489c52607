"""The records of a mail domain, parsed strictly and without I/O."""
