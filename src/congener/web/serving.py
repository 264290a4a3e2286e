"""Serving: what the command serve needs of the page, loaded at once."""

from congener.web.access import is_loopback, new_token
from congener.web.app import create_app
from congener.web.facts import Limits
from congener.web.memory import give_back
from congener.web.proxy import parse_proxies, parse_root
from congener.web.server import server

__all__ = ["Limits", "create_app", "give_back", "is_loopback", "new_token", "parse_proxies", "parse_root", "server"]
