"""The page and the REST API over a gallery: the extra `web`."""
