"""From what was measured to a plan: a real run of two replicas, a simulation held against it, sizes and costs."""
