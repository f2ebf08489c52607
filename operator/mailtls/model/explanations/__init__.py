"""What every reason means to a postmaster, and what to try."""
