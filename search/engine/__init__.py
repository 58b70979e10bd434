"""Everything that touches Ray: trials, schedulers, searchers, resources, the cluster."""
