"""Messages to people: failures, stale data and recoveries, by e-mail, chat or webhook.

Notices are grouped and limited in rate (``digest``), and sent by the Apprise library (``sending``).
"""

from tidegate.notify.notice import Notice, NoticeKind
from tidegate.notify.notifier import Notifier, notifier_of
from tidegate.notify.sending import Channels, load_channels

__all__ = ["Channels", "Notice", "NoticeKind", "Notifier", "load_channels", "notifier_of"]
