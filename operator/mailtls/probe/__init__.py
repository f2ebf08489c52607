"""A mail server as its clients meet it: from the first packet to what extra connections tell."""
