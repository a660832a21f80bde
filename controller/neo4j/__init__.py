"""Neo4j and nothing of Kubernetes: versions, command lines, names, output. Pure: no I/O, clock or randomness."""
