"""Evidence: few passes over a network, reduced to small records that proxies read."""
