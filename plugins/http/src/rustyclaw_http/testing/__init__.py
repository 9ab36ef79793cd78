"""A scripted vendor for the tests of providers; needs ``rustyclaw-http[testing]``.

`server` is a real server on the loopback, `hearing` plays a request and collects the
events, `corpus` plays rows of ``sse_streams.jsonl``. In a ``conftest.py``::

    from rustyclaw_http.testing.server import vendor

    __all__ = ["vendor"]
"""
