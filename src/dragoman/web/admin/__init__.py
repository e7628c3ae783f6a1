"""The admin API under `/admin/v1`: Litestar over `policy.administration`.

`mount` is what the server knows of it; everything else here, and Litestar with it, is imported when the
first administrator calls.
"""
