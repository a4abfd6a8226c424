"""The API that clients speak, described for machines: the OpenAPI document at ``GET /openapi.json``.

Made from what serves: the table of routes, the structs that requests are read into, the classes of errors with their
statuses, the dialects themselves for every example. What no struct can say, what becomes of each member of a request,
stands in the ``*_member`` tables, which tests hold to what the translations do. Nothing here is imported, let alone
made, before somebody asks for it.
"""
