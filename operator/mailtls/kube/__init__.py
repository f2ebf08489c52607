"""The Kubernetes API: objects that are read and written, commands in containers, whose a Secret is."""
