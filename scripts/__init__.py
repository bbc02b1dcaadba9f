"""Tools around the product: the one-machine network, benchmarks, data refresh."""
