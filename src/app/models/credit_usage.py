"""Usage events and balances, for the guide's scripts."""

from groat_server.models import ActionType, CreditUsageEvent, UserCreditBalance

__all__ = ["ActionType", "CreditUsageEvent", "UserCreditBalance"]
