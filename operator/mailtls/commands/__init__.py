"""The command line: one module per command, each importing what it needs only when it runs.

`mailtls probe` must neither need a cluster nor wait for the client of one to be imported.
"""
