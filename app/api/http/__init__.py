"""How a request is served, whatever it asks for: connections, the gate, passes, errors, streams and pictures."""
