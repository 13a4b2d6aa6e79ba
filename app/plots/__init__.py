"""Series to pictures. Pure: numbers in, bytes out; the object interface of matplotlib, no global state."""
