"""The page at ``/``: the messages as the chats show them, live.

``feed.py`` keeps them, ``page.py`` draws them, ``login.py`` says who may look, ``routes.py`` answers browsers.
"""

from bridge.web.feed import Bubble, Feed
from bridge.web.routes import add_routes

__all__ = ["Bubble", "Feed", "add_routes"]
