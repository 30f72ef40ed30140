"""Messages to people: failures, stale data and recoveries, by e-mail, chat or webhook.

Notices are grouped and limited in rate (``runtime.notices``), and sent by the Apprise library
(``sending``).
"""

from tidegate.notify.notifier import Notifications, Notifier, notifier_of
from tidegate.notify.sending import load_channels

__all__ = ["Notifications", "Notifier", "load_channels", "notifier_of"]
