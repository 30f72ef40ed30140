"""The runtime: one arrival, from event to ledger. Start with ``dispatch.py``.

Runs beside Tsdat, in whatever environment the pipelines repository pins: standard library only
(``tsdat_adapter`` adds Tsdat; ``pipeline_run`` and ``saves`` use what Tsdat brings), Python 3.8
and newer.
"""
