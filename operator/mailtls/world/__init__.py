"""The only I/O: each module adapts one part of the outside world behind a Protocol of `ports`."""
