"""What a request costs: Dragoman's completion path beside nginx as a plain reverse proxy.

`python -m bench` starts a provider that answers canned bytes, puts each server in front of it in
turn, loads it, and reads the server's own CPU time from /proc. The server has one core for itself;
load and provider share another. `docs/performance.md` tells the method and the figures.
"""
