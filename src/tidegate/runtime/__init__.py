"""The runtime: one arrival, from event to ledger. Start with ``dispatch.py``.

Runs beside Tsdat, in whatever environment the pipelines repository pins: standard library only
(``tsdat_adapter`` adds Tsdat and what Tsdat brings), Python 3.10 and newer.
"""
