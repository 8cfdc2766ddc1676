"""A trained run as a web page and an HTTP service that may stand in the open.

``app`` joins the parts: what comes in (``uploads``, ``photos``), how much of it at once (``gate``, ``batching``), what
goes out (``answers``, ``refusals``), and what lies around every request (``guard``, ``counters``).
"""
