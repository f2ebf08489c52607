"""The records of a mail domain by their RFC: each module parses one kind strictly, without I/O, and says what is wrong.

The binary records (MX, TLSA, CAA) are parsed by dnspython. The texts are parsed here: the libraries that know them all
(checkdmarc, pyspf, dkimpy) query the DNS while they parse, by resolvers and within limits of their own, or parse a
record only to judge a message. Checks must be pure, and one limit of time must hold for a whole domain.
"""
