"""Users, for the guide's scripts."""

from groat_server.models import User

__all__ = ["User"]
