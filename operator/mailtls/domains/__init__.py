"""The stage that looks up what the mail domains of a resource publish."""
