"""Load: what the service does while many people use it and every core trains: `make load`.

The load comes from a process of its own, which sends every request at the moment that was planned for it, however slow
the answers are. A request counts from that moment, so that waiting for a connection, for the generator or for the
service is part of its time.
"""
