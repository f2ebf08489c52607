"""What a user may read and do about a finding: one text for conditions, command line and documentation."""
