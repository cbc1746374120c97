"""The database session of the guide's scripts."""

from groat_server.database import get_async_session

__all__ = ["get_async_session"]
