"""`mailtls init`: looks at the mail servers in a cluster, and writes what mailtls needs for them."""
