"""What a mail domain publishes: the records of the DNS, parsed leniently and bounded in size."""
