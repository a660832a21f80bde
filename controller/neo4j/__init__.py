"""Neo4j and nothing of Kubernetes: versions, command lines, names, output. No I/O, clock or randomness."""
