"""A resident process that answers the chats of many results of one base model, in one batch."""
