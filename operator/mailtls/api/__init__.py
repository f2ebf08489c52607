"""The resource MailServerTLS: its types, how its JSON is read, and its status as JSON."""
