"""Duplicates: groups of images that are copies of one another, exactly or nearly."""
