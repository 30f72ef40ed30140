"""The dashboard: pages, a JSON API and metrics over a session; never runs user code itself.

``app`` puts it together. Each page is an ``Endpoint``: a function that returns what is shown, as
HTML, as JSON, and in a static copy.
"""
