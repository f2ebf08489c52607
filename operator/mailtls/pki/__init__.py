"""Keys and certificates: read, described and compared."""
