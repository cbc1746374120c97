"""HTTP: translation only. A route parses, calls one operation and shapes its answer."""
