"""What would go wrong with a `MailServerTLS`, looked at before it is applied; nothing is changed but on demand.

Every check asks the same modules that the operator works with, so that it cannot know better than them.
"""
